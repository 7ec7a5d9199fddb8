"""GRPCRoutes as the HTTPRoutes that they amount to: a gRPC method is the path `/package.Service/Method`.

Behaviour: gateway-api.sigs.k8s.io, GRPCRoute reference; grpc.io, "gRPC over HTTP2" (the path).
"""

import re
from typing import Final

from marline.api.gateway_api.grpc_route import (
    GRPCBackendRef,
    GRPCMethodMatch,
    GRPCRouteFilter,
    GRPCRouteMatch,
    GRPCRouteRule,
    GRPCRouteSpec,
)
from marline.api.gateway_api.http_route import (
    HTTPBackendRef,
    HTTPPathMatch,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
)
from marline.api.resource import Resource

GRPC_ROUTE: Final = "GRPCRoute"
_ANY: Final = "[^/]+"


def as_http(route: Resource[GRPCRouteSpec]) -> Resource[HTTPRouteSpec]:
    """The same route, still of its own kind and name, with the rules that an HTTPRoute would have."""
    spec = HTTPRouteSpec(
        parent_refs=route.spec.parent_refs,
        hostnames=route.spec.hostnames,
        rules=tuple(_rule(rule) for rule in route.spec.rules),
        use_default_gateways=route.spec.use_default_gateways,
    )
    return Resource(route.group, route.version, route.kind, route.metadata, spec, route.status)


def grpc_precedence(match: HTTPRouteMatch) -> tuple[int, int, bool, int, int]:
    """Sorts first what wins: the longest service, the longest method, the most headers
    (`GRPCRouteRule.matches`)."""
    service, _, method = match.path.value[1:].rpartition("/") if match.path is not None else ("", "", "")
    if match.path is not None and match.path.type == "PathPrefix":
        service, method = method, ""
    return (-_length(service), -_length(method), False, -len(match.headers), 0)


def _length(part: str) -> int:
    return 0 if part == _ANY else len(part.removeprefix("(?:").removesuffix(")"))


def _rule(rule: GRPCRouteRule) -> HTTPRouteRule:
    return HTTPRouteRule(
        name=rule.name,
        matches=tuple(_match(match) for match in rule.matches),
        filters=tuple(_filter(item) for item in rule.filters),
        backend_refs=tuple(_backend(backend) for backend in rule.backend_refs),
        session_persistence=rule.session_persistence,
    )


def _match(match: GRPCRouteMatch) -> HTTPRouteMatch:
    path = _path(match.method) if match.method is not None else None
    return HTTPRouteMatch(path=path, headers=match.headers)


def _path(method: GRPCMethodMatch) -> HTTPPathMatch:
    if method.type == "Exact" and method.service and method.method:
        return HTTPPathMatch("Exact", f"/{method.service}/{method.method}")
    if method.type == "Exact" and method.service:
        return HTTPPathMatch("PathPrefix", f"/{method.service}")
    quote = re.escape if method.type == "Exact" else "(?:{})".format
    parts = [quote(part) if part else _ANY for part in (method.service, method.method)]
    return HTTPPathMatch("RegularExpression", f"/{parts[0]}/{parts[1]}")


def _filter(item: GRPCRouteFilter) -> HTTPRouteFilter:
    return HTTPRouteFilter(
        type=item.type,
        request_header_modifier=item.request_header_modifier,
        response_header_modifier=item.response_header_modifier,
        request_mirror=item.request_mirror,
        extension_ref=item.extension_ref,
    )


def _backend(backend: GRPCBackendRef) -> HTTPBackendRef:
    return HTTPBackendRef(
        name=backend.name,
        group=backend.group,
        kind=backend.kind,
        namespace=backend.namespace,
        port=backend.port,
        weight=backend.weight,
        filters=tuple(_filter(item) for item in backend.filters),
    )
