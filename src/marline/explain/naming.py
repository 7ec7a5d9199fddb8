"""What a name means to a workload: a service that it sees, one that it does not, or nothing of the mesh."""

from dataclasses import dataclass, replace
from typing import Final

from marline.api.faults import nearest
from marline.compile.routes import carries_http
from marline.explain.origin import Place
from marline.explain.steps import Detail, Step
from marline.explain.target import HTTP, HTTPS, TCP, WELL_KNOWN, Target, is_address
from marline.mesh.hosts import patterns_for
from marline.mesh.model import Service
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope, is_exported

TOPIC: Final = "name"


@dataclass(frozen=True, slots=True)
class Named:
    """A name, as one workload understands it."""

    target: Target
    """With port and scheme, as they follow from the service where they were not said."""
    hostname: str
    service: Service | None
    steps: tuple[Step, ...]


def resolve(snapshot: MeshSnapshot, scope: Scope, target: Target) -> Named:
    """Which service a workload means that calls this target."""
    hostname = target.host if is_address(target.host) else snapshot.resolve_host(target.host, scope.namespace)
    for pattern in patterns_for(hostname):
        service = snapshot.service(pattern, scope)
        if service is not None:
            completed = _completed(target, service)
            return Named(completed, pattern, service, (_found(service, completed, hostname),))
        if snapshot.registry.claims.get(pattern):
            hidden = _hidden(snapshot.registry.claims[pattern][0], scope)
            return Named(_completed(target, None), pattern, None, (hidden,))
    return Named(_completed(target, None), hostname, None, (_unknown(snapshot, target, hostname),))


def _found(service: Service, target: Target, hostname: str) -> Step:
    what = f"{target.host} is {hostname}" if hostname != target.host else hostname
    port = service.port(target.port)
    if port is None:
        known = ", ".join(str(item.number) for item in service.ports)
        said = f"{what}, which has no port {target.port} (it has {known or 'none'})"
    else:
        said = f"{what}, port {port.number} ({port.name}: {port.protocol.value})"
    details = [Detail(f"virtual IP {', '.join(service.addresses)}")] if service.addresses else []
    field = "spec.ports" if port is None else f"spec.ports[{service.ports.index(port)}]"
    return Step(TOPIC, said, Place.at(service.source, field), tuple(details))


def _hidden(service: Service, scope: Scope) -> Step:
    if not is_exported(service.export_to, service.namespace, scope.namespace):
        said = f"{service.hostname} is not exported to the namespace {scope.namespace}"
        field = "spec.exportTo" if service.source.kind == "ServiceEntry" else "metadata.annotations"
        return Step(TOPIC, said, Place.at(service.source, field))
    said = f"{service.hostname} is there, but no egress host of the workload's Sidecar covers it"
    return Step(TOPIC, said, Place.at(service.source))


def _unknown(snapshot: MeshSnapshot, target: Target, hostname: str) -> Step:
    if is_address(hostname):
        return Step(TOPIC, f"{hostname} is an address")
    close = nearest(hostname, list(snapshot.services))
    hint = f"; did you mean {close}?" if close else ""
    return Step(TOPIC, f"no Service or ServiceEntry has the host {hostname}{hint}")


def _completed(target: Target, service: Service | None) -> Target:
    port = target.port or WELL_KNOWN.get(target.scheme, 0) or _only_port(service)
    if target.scheme:
        return replace(target, port=port)
    found = service.port(port) if service is not None else None
    if found is None or carries_http(found):
        return replace(target, port=port, scheme=HTTP)
    return replace(target, port=port, scheme=HTTPS if found.protocol.value == "HTTPS" else TCP)


def _only_port(service: Service | None) -> int:
    """The port that is meant if none is said: 80 if there is one, else the first for HTTP, else the first."""
    if service is None or not service.ports or service.port(WELL_KNOWN[HTTP]) is not None:
        return WELL_KNOWN[HTTP]
    return next((port for port in service.ports if carries_http(port)), service.ports[0]).number
