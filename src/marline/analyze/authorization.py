"""AuthorizationPolicies whose provider cannot be asked, or not about all that they select."""

from collections.abc import Iterator

from marline.analyze.findings import NOT_FOUND, REQUESTS_ONLY, Finding
from marline.api.resource import Resource
from marline.api.security.authorization_policy import AuthorizationPolicySpec
from marline.compile.authorizers import find_authorizer
from marline.compile.routes import carries_http
from marline.mesh.model import Protocol, Service
from marline.mesh.selection import selection_of
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope


def unaskable_providers(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in snapshot.resources("security.istio.io", "AuthorizationPolicy"):
        if item.spec.action != "CUSTOM" or item.spec.provider is None:
            continue
        found = find_authorizer(snapshot, Scope(item.namespace), item.spec.provider.name)
        if found.authorizer is None:
            message = f"{found.fault}: nothing that its rules cover passes"
            yield Finding(NOT_FOUND, item.ref, "spec.provider.name", message)
        elif found.authorizer.protocol == "HTTP":
            yield from _unasked(snapshot, item)


def _unasked(snapshot: MeshSnapshot, item: Resource[AuthorizationPolicySpec]) -> Iterator[Finding]:
    """Ports of which no request is read, so that there is nothing to ask a provider of HTTP about."""
    selection = selection_of(item, snapshot.settings.root_namespace)
    for service in sorted(snapshot.services.values(), key=lambda each: each.hostname):
        if not service.selector or not selection.selects(service.namespace, dict(service.selector)):
            continue
        ports = ", ".join(_unread(service))
        if ports:
            message = f"connections to {service.hostname} on port {ports} pass without being asked about"
            yield Finding(REQUESTS_ONLY, item.ref, "spec.provider.name", message)


def _unread(service: Service) -> Iterator[str]:
    for port in service.ports:
        if port.protocol is not Protocol.UDP and not carries_http(port):
            yield str(port.number)
