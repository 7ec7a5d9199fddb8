"""External authorization at Envoy: another service is asked whether a request, or a connection, may pass.

envoyproxy.io, "External Authorization" (HTTP filter and network filter).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2, grpc_service_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.type.matcher.v3 import string_pb2

from marline.compile.routes_targets import duration

FILTER: Final = "envoy.filters.http.ext_authz"
_OF_THE_MESSAGE: Final = (
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade",
)  # fmt: skip
"""Headers that are about the answer itself and would damage the request."""


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A service that is asked, and what it is told and may change."""

    protocol: str
    """`HTTP` or `GRPC` (envoyproxy.io, `service.auth.v3.Authorization`)."""
    cluster: str
    authority: str
    timeout: float
    fail_open: bool = False
    status_on_error: int = 403
    path_prefix: str = ""
    request_headers: tuple[str, ...] = ()
    """The headers of the request that it is told, as patterns (`name`, `abc*`, `*abc`); over HTTP
    beside those that it is told at any rate. Nothing said: over gRPC all."""
    added_headers: tuple[tuple[str, str], ...] = ()
    max_body: int = 0
    """So many bytes of the request's body are sent with it; 0: none."""
    partial_body: bool = False
    """A longer body is sent in part. Otherwise the request gets a 413."""
    body_as_bytes: bool = False
    upstream_headers: tuple[str, ...] | None = ()
    """What of its answer is added to a request that passes; None: all that is not about the answer itself."""
    denied_headers: tuple[str, ...] = ()
    """What of its answer is in that to a request that does not pass; nothing said: all."""
    allowed_headers: tuple[str, ...] = ()
    """What of its answer is in that to a request that passes."""


def http_authorization(asked: Authorizer) -> ext_authz_pb2.ExtAuthz:
    """The HTTP filter's configuration."""
    made = ext_authz_pb2.ExtAuthz(
        transport_api_version=config_source_pb2.ApiVersion.V3,
        failure_mode_allow=asked.fail_open,
    )
    made.status_on_error.code = asked.status_on_error
    if asked.request_headers:
        made.allowed_headers.patterns.extend(_matchers(asked.request_headers))
    if asked.max_body:
        made.with_request_body.max_request_bytes = asked.max_body
        made.with_request_body.allow_partial_message = asked.partial_body
        made.with_request_body.pack_as_bytes = asked.body_as_bytes
    if asked.upstream_headers is None:
        made.decoder_header_mutation_rules.disallow_expression.regex = "|".join(_OF_THE_MESSAGE)
    if asked.protocol == "GRPC":
        made.grpc_service.CopyFrom(grpc_service(asked))
    else:
        _set_http_service(made.http_service, asked)
    return made


def grpc_service(asked: Authorizer) -> grpc_service_pb2.GrpcService:
    made = grpc_service_pb2.GrpcService()
    made.envoy_grpc.cluster_name = asked.cluster
    made.envoy_grpc.authority = asked.authority
    made.timeout.CopyFrom(duration(asked.timeout))
    return made


def _set_http_service(made: Any, asked: Authorizer) -> None:
    made.server_uri.uri = f"http://{asked.authority}"
    made.server_uri.cluster = asked.cluster
    made.server_uri.timeout.CopyFrom(duration(asked.timeout))
    made.path_prefix = asked.path_prefix
    for name, value in asked.added_headers:
        made.authorization_request.headers_to_add.add(key=name, value=value)
    answer = made.authorization_response
    if asked.upstream_headers is None:
        answer.allowed_upstream_headers.patterns.add().safe_regex.regex = "[^:].*"
    for field, patterns in (
        ("allowed_upstream_headers", asked.upstream_headers or ()),
        ("allowed_client_headers", asked.denied_headers),
        ("allowed_client_headers_on_success", asked.allowed_headers),
    ):
        if patterns:
            getattr(answer, field).patterns.extend(_matchers(patterns))


def _matchers(patterns: Iterable[str]) -> Iterable[string_pb2.StringMatcher]:
    for pattern in patterns:
        name = pattern.lower()
        if name.endswith("*"):
            yield string_pb2.StringMatcher(prefix=name[:-1])
        elif name.startswith("*"):
            yield string_pb2.StringMatcher(suffix=name[1:])
        else:
            yield string_pb2.StringMatcher(exact=name)
