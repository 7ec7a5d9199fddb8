"""Which addresses a name has inside a workload's network namespace. Pure.

As Istio's DNS proxying (istio.io, "DNS Proxying"): services resolve to their virtual IPs, headless ones to
their endpoints; everything else is for the machine's own resolvers.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from marline.mesh.snapshot import MeshSnapshot


@dataclass(frozen=True, slots=True)
class NameTable:
    """Names of services → IPv4 addresses."""

    cluster_domain: str
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Without the star: `.example.com`."""

    def lookup(self, name: str, namespace: str) -> tuple[str, ...] | None:
        """The addresses of a lower-case name without final dot, as seen from a namespace. Empty: it is the
        mesh's to say that there are none. None: ask others."""
        domain = f".svc.{self.cluster_domain}"
        labels = name.split(".")
        candidates = [name]
        if len(labels) == 1:
            candidates.append(f"{name}.{namespace}{domain}")
        elif len(labels) == 2:
            candidates.append(f"{name}{domain}")
        elif len(labels) == 3 and labels[2] == "svc":
            candidates.append(f"{name}.{self.cluster_domain}")
        for candidate in candidates:
            if candidate in self.hosts:
                return self.hosts[candidate]
        for index in range(1, len(labels)):
            found = self.wildcards.get("." + ".".join(labels[index:]))
            if found is not None:
                return found
        # All of the cluster's domain is the mesh's, also what search lists make of its names: nobody else
        # is asked for it, as by CoreDNS in a cluster.
        return () if name.endswith(f".{self.cluster_domain}") else None


def name_table(snapshot: MeshSnapshot) -> NameTable:
    """The names of all services of a mesh. One that has no address of its own is left to others, unless
    it is headless."""
    hosts: dict[str, tuple[str, ...]] = {}
    wildcards: dict[str, tuple[str, ...]] = {}
    for host, service in snapshot.services.items():
        addresses = _ipv4(service.addresses)
        if not addresses and service.headless:
            addresses = _ipv4(dict.fromkeys(item.address for item in snapshot.endpoints(service)))
        elif not addresses:
            continue
        if host.startswith("*."):
            wildcards[host[1:].lower()] = addresses
        else:
            hosts[host.lower()] = addresses
    return NameTable(snapshot.settings.cluster_domain, hosts, wildcards)


def _ipv4(addresses: Iterable[str]) -> tuple[str, ...]:
    """Single addresses only: a ServiceEntry may also name CIDR blocks."""
    return tuple(address for address in addresses if _is_ipv4(address))


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False
