"""Who sees what: `exportTo`, and the Sidecar resource that narrows a workload's view.

Istio, "Sidecar" reference: a Sidecar that selects the workload counts, else the namespace's, else the
root namespace's; without any, a workload sees all that is exported to its namespace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from marline.api.networking.sidecar import IstioEgressListener, SidecarPort, SidecarSpec
from marline.api.networking.virtual_service import Destination, VirtualServiceSpec
from marline.api.resource import Resource
from marline.mesh.hosts import host_matches
from marline.mesh.model import Service


def is_exported(export_to: tuple[str, ...], owner: str, namespace: str) -> bool:
    """Is something of the namespace `owner` exported to `namespace`? Nothing said: to all."""
    if not export_to or "*" in export_to:
        return True
    return namespace in export_to or ("." in export_to and owner == namespace)


def age(resource: Resource[Any]) -> tuple[str, str, str]:
    """A sort key: oldest first, then by name. Who was first keeps what others want too."""
    return (resource.metadata.creation_timestamp or "", resource.namespace, resource.name)


@dataclass(frozen=True, slots=True)
class Egress:
    """A listener of a Sidecar's `egress`: which services it is for, and where it is."""

    hosts: tuple[tuple[str, str], ...]
    """Patterns of (namespace, host)."""
    port: int = 0
    """0: all ports that no other listener has; with a Unix socket: all."""
    protocol: str = ""
    bind: str = ""
    capture: str = "DEFAULT"

    @property
    def is_socket(self) -> bool:
        return self.bind.startswith("unix://")

    def is_for(self, service: Service, namespace: str) -> bool:
        """Is it for a service, as a workload of a namespace sees it?"""
        return self._is_for(service.namespace, namespace, lambda host: host_matches(host, service.hostname))

    def covers(self, owner: str, host: str, namespace: str) -> bool:
        """Is it for some of the services that a host (maybe a wildcard) of a rule in a namespace `owner`
        stands for?"""
        return self._is_for(
            owner, namespace, lambda pattern: host_matches(pattern, host) or host_matches(host, pattern)
        )

    def _is_for(self, owner: str, namespace: str, fits: Callable[[str], bool]) -> bool:
        return any(
            fits(host)
            for place, host in self.hosts
            if place in ("*", owner) or (place == "." and owner == namespace)
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What a workload may see. A value; equal scopes see the same."""

    namespace: str
    egress: tuple[Egress, ...] | None = None
    """Those of a Sidecar; None: everything that is exported."""
    allow_any: bool = True
    """Unknown destinations are let through (Istio: `outboundTrafficPolicy`)."""
    egress_proxy: Destination | None = None
    """Through which service they go then; None: straight to where the application wants."""

    def sees(self, service: Service) -> bool:
        if not self.is_offered(service):
            return False
        if self.egress is None:
            return True
        return any(
            listener.is_for(service, self.namespace) and (not listener.port or service.port(listener.port))
            for listener in self.egress
        )

    def is_offered(self, service: Service) -> bool:
        """May anybody in its namespace call a service?"""
        return is_exported(service.export_to, service.namespace, self.namespace)

    def sees_rules(self, item: Resource[VirtualServiceSpec], host: str) -> bool:
        """Does a VirtualService count for one of its hosts? A Sidecar names rules as it names services: by
        their namespace and host."""
        if not is_exported(item.spec.export_to, item.namespace, self.namespace):
            return False
        return self.egress is None or any(
            listener.covers(item.namespace, host, self.namespace) for listener in self.egress
        )

    def sees_port(self, service: Service, number: int) -> bool:
        """Is a port of a service that it may call among those that it sees? Listeners for the port decide,
        else those for all other ports. Where only rules lead to the service, they may lead to any."""
        if self.egress is None or not self.sees(service):
            return True
        of_port = [item for item in self.egress if item.port == number]
        others = [item for item in self.egress if not item.port]
        return any(item.is_for(service, self.namespace) for item in of_port or others)

    def narrowed(self, service: Service) -> Service:
        """A service with the ports that may be called."""
        ports = tuple(port for port in service.ports if self.sees_port(service, port.number))
        return service if len(ports) == len(service.ports) else replace(service, ports=ports)


def select_sidecar(
    sidecars: Mapping[str, tuple[Resource[SidecarSpec], ...]],
    root_namespace: str,
    namespace: str,
    labels: Mapping[str, str],
) -> Resource[SidecarSpec] | None:
    """The Sidecar that counts for a workload; `sidecars` by namespace, oldest first."""
    own = sidecars.get(namespace, ())
    candidates = (
        *(item for item in own if _selector(item) and _fits(_selector(item), labels)),
        *(item for item in own if not _selector(item)),
        *(item for item in sidecars.get(root_namespace, ()) if not _selector(item)),
    )
    return next(iter(candidates), None)


def scope_of(sidecar: Resource[SidecarSpec] | None, namespace: str, allow_any: bool) -> Scope:
    """What a workload of a namespace may see that has this Sidecar."""
    if sidecar is None:
        return Scope(namespace, None, allow_any)
    spec = sidecar.spec
    policy, proxy = spec.outbound_traffic_policy, None
    if policy is not None:
        allow_any, proxy = policy.mode == "ALLOW_ANY", policy.egress_proxy
    egress = tuple(_egress(listener) for listener in spec.egress) or None
    return Scope(namespace, egress, allow_any, proxy)


def _egress(listener: IstioEgressListener) -> Egress:
    hosts = (host.partition("/") for host in listener.hosts)
    port = listener.port or SidecarPort()
    return Egress(
        tuple((owner, name.lower()) for owner, _, name in hosts),
        port.number,
        port.protocol.upper(),
        listener.bind,
        listener.capture_mode,
    )


def _selector(item: Resource[SidecarSpec]) -> Mapping[str, str]:
    return item.spec.workload_selector.labels if item.spec.workload_selector is not None else {}


def _fits(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
