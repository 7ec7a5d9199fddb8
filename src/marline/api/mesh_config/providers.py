"""Extension providers: services outside the proxies that policies refer to by name.

istio.io, "Global Mesh Options", `MeshConfig.ExtensionProvider`.
"""

from typing import Annotated, Any, Final

from msgspec import Meta

from marline.api import rules
from marline.api.core import PortNumber
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.scalars import Duration

_STATUSES: Final = frozenset(
    {
        100, *range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 418), *range(421, 425), 426, 428,
        429, 431, *range(500, 509), 510, 511,
    }
)  # fmt: skip
"""The codes of Envoy's `type.v3.StatusCode`."""


class RequestBody(Model, frozen=True):
    """Istio's `EnvoyExternalAuthorizationRequestBody`."""

    max_request_bytes: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class ExtAuthzHttp(Model, frozen=True):
    """Istio's `EnvoyExternalAuthorizationHttpProvider`."""

    service: str
    """`[<namespace>/]<hostname>`."""
    port: PortNumber
    timeout: Duration | None = None
    path_prefix: str = ""
    fail_open: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()
    """The old name of the next."""
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: dict[str, str] = {}
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class ExtAuthzGrpc(Model, frozen=True):
    """Istio's `EnvoyExternalAuthorizationGrpcProvider`."""

    service: str
    """`[<namespace>/]<hostname>`."""
    port: PortNumber
    timeout: Duration | None = None
    fail_open: bool = False
    status_on_error: str = ""
    include_request_body_in_check: RequestBody | None = None


class ExtensionProvider(Model, frozen=True):
    """A service by the name that policies know it by. Exactly one kind is given."""

    name: str
    envoy_ext_authz_http: ExtAuthzHttp | None = None
    envoy_ext_authz_grpc: ExtAuthzGrpc | None = None
    zipkin: Any = None
    lightstep: Any = None
    datadog: Any = None
    stackdriver: Any = None
    opencensus: Any = None
    skywalking: Any = None
    opentelemetry: Any = None
    prometheus: Any = None
    envoy_file_access_log: Any = None
    envoy_http_als: Any = None
    envoy_tcp_als: Any = None
    envoy_otel_als: Any = None


_TRACES: Final = "proxies send no traces"
_LOGS: Final = "proxies write no access logs"
REFUSED_PROVIDERS: Final = {
    **dict.fromkeys(
        ("zipkin", "lightstep", "datadog", "stackdriver", "opencensus", "skywalking", "opentelemetry"),
        _TRACES,
    ),
    **dict.fromkeys(("envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls"), _LOGS),
}


def validate_providers(providers: tuple[ExtensionProvider, ...], faults: Faults) -> None:
    rules.named_once([item.name for item in providers], faults, "provider")
    for index, item in enumerate(providers):
        where = faults.item(index)
        where.required(item.name, "name")
        given = [name for name in ExtensionProvider.__struct_fields__[1:] if getattr(item, name) is not None]
        if len(given) != 1:
            where.add(f"expected one kind of provider, found {len(given)}")
        for name, reason in REFUSED_PROVIDERS.items():
            if getattr(item, _attribute(name)) == {}:
                where.at(name).unsupported(f"is not acted on: {reason}")
        if item.envoy_ext_authz_http is not None:
            _http(item.envoy_ext_authz_http, where.at("envoyExtAuthzHttp"))
        if item.envoy_ext_authz_grpc is not None:
            _asked(item.envoy_ext_authz_grpc, where.at("envoyExtAuthzGrpc"))


def _http(provider: ExtAuthzHttp, faults: Faults) -> None:
    _asked(provider, faults)
    if provider.path_prefix and not provider.path_prefix.startswith("/"):
        faults.at("pathPrefix").add(f"{provider.path_prefix!r} does not begin with '/'")
    if any(character in provider.path_prefix for character in "?#"):
        faults.at("pathPrefix").add("has a query or a fragment; expected the beginning of a path")
    for name in (
        "includeHeadersInCheck", "includeRequestHeadersInCheck", "headersToUpstreamOnAllow",
        "headersToDownstreamOnDeny", "headersToDownstreamOnAllow",
    ):  # fmt: skip
        _patterns(getattr(provider, _attribute(name)), faults.at(name))
    for name, value in provider.include_additional_headers_in_check.items():
        where = faults.at("includeAdditionalHeadersInCheck").key(name)
        rules.header_name(name, where, writable=True)
        rules.header_value(value, where)
    if provider.include_headers_in_check and provider.include_request_headers_in_check:
        faults.at("includeHeadersInCheck").add(
            "is the old name of includeRequestHeadersInCheck; write that alone"
        )
    body = provider.include_request_body_in_check
    if body is not None and body.pack_as_bytes:
        faults.at("includeRequestBodyInCheck").at("packAsBytes").add(
            "has an effect with envoyExtAuthzGrpc only: over HTTP a body is bytes"
        )


def _attribute(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _patterns(patterns: tuple[str, ...], faults: Faults) -> None:
    """Names of headers: exact, `abc*` or `*abc`."""
    for index, pattern in enumerate(patterns):
        name = pattern.removesuffix("*") if pattern.endswith("*") else pattern.removeprefix("*")
        if "*" in name:
            faults.item(index).add(f"{pattern!r} has '*' elsewhere than at one of its ends")
        elif not name:
            faults.item(index).add("expected a header's name, its beginning and '*', or '*' and its end")
        else:
            rules.header_name(name, faults.item(index))


def _asked(provider: ExtAuthzHttp | ExtAuthzGrpc, faults: Faults) -> None:
    namespace, slash, host = provider.service.rpartition("/")
    if slash:
        rules.dns_label(namespace, faults.at("service"))
    rules.host(host, faults.at("service"), wildcard=False)
    rules.duration(provider.timeout, faults.at("timeout"))
    if provider.status_on_error:
        code = provider.status_on_error
        if not code.isdigit() or int(code) not in _STATUSES:
            faults.at("statusOnError").add(f"{code!r} is not an HTTP status, such as '503'")
    body = provider.include_request_body_in_check
    if body is not None and not body.max_request_bytes:
        faults.at("includeRequestBodyInCheck").required(None, "maxRequestBytes")
