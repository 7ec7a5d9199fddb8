"""References to what is not there."""

from collections.abc import Iterator
from typing import Any

from marline.analyze.findings import (
    EMPTY_SUBSET,
    HOST_NOT_IN_GATEWAY,
    NOBODY_SERVES,
    NOT_FOUND,
    NOT_VISIBLE,
    UNKNOWN_HOST,
    Finding,
)
from marline.analyze.names import (
    binds,
    bound_gateways,
    destination_rules,
    did_you_mean,
    gateways,
    is_for_mesh,
    is_served,
    services_named,
    virtual_services,
)
from marline.api.networking.virtual_service import Destination, VirtualServiceSpec
from marline.api.resource import Resource
from marline.mesh.delegation import delegate_ref, is_delegate
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import is_exported


def destinations(spec: VirtualServiceSpec) -> Iterator[tuple[str, Destination]]:
    """Every destination of a VirtualService, and the field that it stands in."""
    for index, http in enumerate(spec.http):
        where = f"spec.http[{index}]"
        for number, item in enumerate(http.route):
            yield f"{where}.route[{number}].destination", item.destination
        if http.mirror is not None:
            yield f"{where}.mirror", http.mirror
        for number, mirror in enumerate(http.mirrors):
            yield f"{where}.mirrors[{number}].destination", mirror.destination
    l4 = [(f"spec.tcp[{index}]", rule.route) for index, rule in enumerate(spec.tcp)]
    l4 += [(f"spec.tls[{index}]", rule.route) for index, rule in enumerate(spec.tls)]
    for where, route in l4:
        for number, target in enumerate(route):
            yield f"{where}.route[{number}].destination", target.destination


def missing_destinations(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in virtual_services(snapshot):
        for path, destination in destinations(item.spec):
            services = services_named(snapshot, destination.host, item.namespace)
            if not services:
                yield _unknown_service(snapshot, item, path, destination.host)
                continue
            if not any(is_exported(each.export_to, each.namespace, item.namespace) for each in services):
                message = f"{destination.host!r} is not exported to namespace {item.namespace}"
                yield Finding(NOT_VISIBLE, item.ref, f"{path}.host", message)
            ports = {port.number for each in services for port in each.ports}
            if destination.port is not None and destination.port.number not in ports:
                known = ", ".join(map(str, sorted(ports)))
                message = f"{destination.host!r} has no port {destination.port.number}; it has {known}"
                yield Finding(NOT_FOUND, item.ref, f"{path}.port.number", message)
            if destination.subset:
                yield from _subset(snapshot, item, path, destination)


def _unknown_service(snapshot: MeshSnapshot, item: Resource[Any], path: str, host: str) -> Finding:
    name = snapshot.resolve_host(host, item.namespace)
    mend = did_you_mean(name, snapshot.registry.services)
    return Finding(NOT_FOUND, item.ref, f"{path}.host", f"there is no service {name!r}", mend)


def _subset(
    snapshot: MeshSnapshot, item: Resource[VirtualServiceSpec], path: str, destination: Destination
) -> Iterator[Finding]:
    host = snapshot.resolve_host(destination.host, item.namespace)
    if snapshot.tells_clients_apart(host, item.namespace):
        return  # which subsets there are depends on who asks
    rule = snapshot.destination_rule(host, item.namespace, {})
    if rule is None:
        message = f"no DestinationRule describes subsets of {host!r}"
        yield Finding(NOT_FOUND, item.ref, f"{path}.subset", message)
    elif rule.subset(destination.subset) is None:
        message = f"the DestinationRule of {host!r} has no subset {destination.subset!r}"
        names = [subset.name for subset in rule.subsets()]
        known = f"It has {', '.join(names)}." if names else ""
        mend = did_you_mean(destination.subset, names) or known
        yield Finding(NOT_FOUND, item.ref, f"{path}.subset", message, mend)


def missing_gateways(snapshot: MeshSnapshot) -> Iterator[Finding]:
    known = {item.ref: item for item in gateways(snapshot)}
    for item in virtual_services(snapshot):
        for index, ref in bound_gateways(item):
            if ref not in known:
                mend = did_you_mean(ref.name, (other.name for other in known))
                yield Finding(NOT_FOUND, item.ref, f"spec.gateways[{index}]", f"there is no {ref}", mend)
                continue
            for number, host in enumerate(item.spec.hosts):
                if not binds(snapshot, item, host, known[ref]):
                    message = f"{host!r} is no host of {ref}"
                    yield Finding(HOST_NOT_IN_GATEWAY, item.ref, f"spec.hosts[{number}]", message)


def missing_delegates(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """VirtualServices that are delegated to, and are not there, have hosts, or are kept to themselves."""
    for item in virtual_services(snapshot):
        for index, rule in enumerate(item.spec.http):
            if rule.delegate is None:
                continue
            ref = delegate_ref(item, rule.delegate.namespace, rule.delegate.name)
            found, path = snapshot.resource(ref), f"spec.http[{index}].delegate"
            if found is None:
                yield Finding(NOT_FOUND, item.ref, path, f"there is no {ref}")
            elif not is_delegate(found):
                message = f"{ref} has hosts, so that nobody can delegate to it"
                yield Finding(NOT_FOUND, item.ref, path, message)
            elif not is_exported(found.spec.export_to, found.namespace, item.namespace):
                message = f"{ref} is not exported to namespace {item.namespace}"
                yield Finding(NOT_VISIBLE, item.ref, path, message)


def unserved_hosts(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Hosts of VirtualServices for sidecars; a gateway's need be no service's."""
    for item in virtual_services(snapshot):
        if not is_for_mesh(item) or any(bound_gateways(item)):
            continue
        for index, host in enumerate(item.spec.hosts):
            if not is_served(snapshot, host, item.namespace):
                name = snapshot.resolve_host(host, item.namespace)
                mend = did_you_mean(name, snapshot.registry.services)
                message = f"no service has the name {name!r}"
                yield Finding(NOBODY_SERVES, item.ref, f"spec.hosts[{index}]", message, mend)


def destination_rules_without_host(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in destination_rules(snapshot):
        if not is_served(snapshot, item.spec.host, item.namespace):
            name = snapshot.resolve_host(item.spec.host, item.namespace)
            mend = did_you_mean(name, snapshot.registry.services)
            yield Finding(UNKNOWN_HOST, item.ref, "spec.host", f"no service has the name {name!r}", mend)


def empty_subsets(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Subsets of services that have workloads, but none with these labels."""
    for item in destination_rules(snapshot):
        for service in services_named(snapshot, item.spec.host, item.namespace):
            endpoints = snapshot.all_endpoints(service)
            for index, subset in enumerate(item.spec.subsets):
                if not endpoints or not subset.labels:
                    continue
                wanted = subset.labels.items()
                if not any(wanted <= dict(endpoint.labels).items() for endpoint in endpoints):
                    labels = ",".join(f"{key}={value}" for key, value in sorted(wanted))
                    message = f"no workload of {service.hostname} has the labels {labels}"
                    yield Finding(EMPTY_SUBSET, item.ref, f"spec.subsets[{index}].labels", message)


def missing_secrets(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Certificates of gateways, in whichever namespace the gateway's workload is."""
    names = {item.name for item in snapshot.resources("", "Secret")}
    for item in gateways(snapshot):
        for index, server in enumerate(item.spec.servers):
            name = server.tls.credential_name if server.tls is not None else ""
            bare = name.rpartition("/")[2]
            if bare and bare not in names:
                mend = did_you_mean(bare, names)
                path = f"spec.servers[{index}].tls.credentialName"
                yield Finding(NOT_FOUND, item.ref, path, f"there is no Secret {name!r}", mend)
