"""The extension providers that AuthorizationPolicies with action CUSTOM name, as services that can be asked.

istio.io, "Global Mesh Options" (`ExtensionProvider`) and "External Authorization".
"""

from dataclasses import replace
from typing import Final, NamedTuple

from marline.api.mesh_config.providers import ExtAuthzGrpc, ExtAuthzHttp
from marline.compile.ext_authz import Authorizer
from marline.compile.routes_targets import outbound_cluster
from marline.mesh.extension_providers import authorizer_of, host_of
from marline.mesh.model import Service
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope

_SECONDS: Final = 600.0
"""The time for an answer unless a provider says another, as in Istio."""
_FORBIDDEN: Final = 403


class Found(NamedTuple):
    """Who is asked; or None, and why."""

    authorizer: Authorizer | None
    fault: str = ""


def find_authorizer(snapshot: MeshSnapshot, scope: Scope, name: str) -> Found:
    """The provider of this name, as workloads with this view can ask it."""
    asked = authorizer_of(snapshot.settings, name)
    if asked is None:
        return Found(None, f"the MeshConfig has no extension provider {name!r} for authorization")
    service = _service(snapshot, scope, asked)
    if service is None:
        return Found(None, f"the extension provider {name!r} names {asked.service}, which is no service here")
    if service.port(asked.port) is None:
        return Found(
            None, f"the extension provider {name!r} names port {asked.port}, which {host_of(asked)} has not"
        )
    return Found(_authorizer(asked, service.hostname))


def _service(snapshot: MeshSnapshot, scope: Scope, asked: ExtAuthzHttp | ExtAuthzGrpc) -> Service | None:
    namespace = asked.service.rpartition("/")[0]
    found = snapshot.service(host_of(asked), scope)
    return found if found is not None and namespace in ("", found.namespace) else None


def _authorizer(asked: ExtAuthzHttp | ExtAuthzGrpc, hostname: str) -> Authorizer:
    body = asked.include_request_body_in_check
    made = Authorizer(
        "GRPC" if isinstance(asked, ExtAuthzGrpc) else "HTTP",
        outbound_cluster(hostname, asked.port),
        f"{hostname}:{asked.port}",
        float(asked.timeout or _SECONDS),
        asked.fail_open,
        int(asked.status_on_error or _FORBIDDEN),
        max_body=body.max_request_bytes if body is not None else 0,
        partial_body=body is not None and body.allow_partial_message,
        body_as_bytes=body is not None and body.pack_as_bytes,
    )
    if isinstance(asked, ExtAuthzGrpc):
        return made
    return replace(
        made,
        path_prefix=asked.path_prefix,
        request_headers=asked.include_request_headers_in_check or asked.include_headers_in_check,
        added_headers=tuple(sorted(asked.include_additional_headers_in_check.items())),
        upstream_headers=asked.headers_to_upstream_on_allow,
        denied_headers=asked.headers_to_downstream_on_deny,
        allowed_headers=asked.headers_to_downstream_on_allow,
    )
