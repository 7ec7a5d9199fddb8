"""Resources of which one keeps another from counting."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from marline.analyze.findings import (
    CONFLICTING_GATEWAYS,
    CONFLICTING_HOSTS,
    CONFLICTING_SIDECARS,
    DUPLICATE_CERTIFICATE,
    SEVERAL_SIDECARS,
    Finding,
)
from marline.analyze.names import NETWORKING, gateways, is_for_mesh, virtual_services
from marline.api.networking.gateway import Server
from marline.api.resource import Resource
from marline.compile.gateway_hosts import common_host, split_server_host
from marline.mesh.endpoints import entry_labels
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age


def conflicting_hosts(snapshot: MeshSnapshot) -> Iterator[Finding]:
    by_host: dict[str, list[tuple[Resource[Any], int]]] = {}
    for item in sorted(virtual_services(snapshot), key=age):
        for index, host in enumerate(item.spec.hosts if is_for_mesh(item) else ()):
            by_host.setdefault(snapshot.resolve_host(host, item.namespace), []).append((item, index))
    for host, claims in by_host.items():
        first, *others = claims
        for item, index in others:
            if _seen_together(first[0], item):
                message = f"{first[0].ref} is older and has {host} too"
                yield Finding(CONFLICTING_HOSTS, item.ref, f"spec.hosts[{index}]", message)


def _seen_together(one: Resource[Any], other: Resource[Any]) -> bool:
    """Is there a namespace that both are exported to?"""
    places = [
        {item.namespace if name == "." else name for name in item.spec.export_to} or {"*"}
        for item in (one, other)
    ]
    return "*" in places[0] | places[1] or not places[0].isdisjoint(places[1])


def conflicting_sidecars(snapshot: MeshSnapshot) -> Iterator[Finding]:
    by_namespace: dict[str, list[Resource[Any]]] = {}
    for item in sorted(snapshot.resources(NETWORKING, "Sidecar"), key=age):
        by_namespace.setdefault(item.namespace, []).append(item)
    for namespace, items in by_namespace.items():
        general = [item for item in items if not _selector(item)]
        for item in general[1:]:
            yield Finding(SEVERAL_SIDECARS, item.ref, "spec", f"{general[0].ref} has no selector either")
        yield from _overlapping(snapshot, namespace, [item for item in items if _selector(item)])


def _overlapping(snapshot: MeshSnapshot, namespace: str, items: list[Resource[Any]]) -> Iterator[Finding]:
    workloads = [
        entry for entry in snapshot.resources(NETWORKING, "WorkloadEntry") if entry.namespace == namespace
    ]
    for one, other in combinations(items, 2):
        wanted = {**_selector(one), **_selector(other)}.items()
        if len(wanted) < len(_selector(one).items() | _selector(other).items()):
            continue  # they contradict each other
        both = next((entry for entry in workloads if wanted <= entry_labels(entry).items()), None)
        if both is not None:
            message = f"{one.ref} is older and selects {both.name} too"
            yield Finding(CONFLICTING_SIDECARS, other.ref, "spec.workloadSelector", message)


def _selector(item: Resource[Any]) -> dict[str, str]:
    return item.spec.workload_selector.labels if item.spec.workload_selector is not None else {}


def conflicting_gateways(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Servers of two Gateways for one proxy, port and host."""
    for one, other in combinations(sorted(gateways(snapshot), key=age), 2):
        if one.spec.selector != other.spec.selector:
            continue
        for index, server in enumerate(other.spec.servers):
            shared = next((host for each in one.spec.servers if (host := _shared_host(each, server))), "")
            if shared:
                message = f"{one.ref} is older and serves {shared} on port {server.port.number} too"
                yield Finding(CONFLICTING_GATEWAYS, other.ref, f"spec.servers[{index}].hosts", message)


def _shared_host(one: Server, other: Server) -> str:
    if (one.port.number, one.bind) != (other.port.number, other.bind):
        return ""
    names = {split_server_host(host.lower())[1] for host in one.hosts}
    return next((host for host in map(_bare, other.hosts) if host in names), "")


def _bare(host: str) -> str:
    return split_server_host(host.lower())[1]


def duplicate_certificates(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """One certificate at two servers of one proxy and port, whose hosts differ."""
    for one, other in combinations(sorted(gateways(snapshot), key=age), 2):
        if one.spec.selector != other.spec.selector:
            continue
        for index, server in enumerate(other.spec.servers):
            name = _credential(server)
            same = [each for each in one.spec.servers if name and _credential(each) == name]
            if any(each.port.number == server.port.number and not _overlap(each, server) for each in same):
                path = f"spec.servers[{index}].tls.credentialName"
                yield Finding(DUPLICATE_CERTIFICATE, other.ref, path, f"{one.ref} uses {name!r} too")


def _credential(server: Server) -> str:
    return server.tls.credential_name if server.tls is not None else ""


def _overlap(one: Server, other: Server) -> bool:
    return any(common_host(_bare(left), _bare(right)) for left in one.hosts for right in other.hosts)
