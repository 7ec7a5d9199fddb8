"""Virtual IPs: one for each Service and each host of a ServiceEntry, stable and never shared.

An address is looked for first where the hash of the name points, so a service that is deleted and made
again gets its address back, unless another has taken it meanwhile.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address
from typing import Any

from marline.api.errors import FieldError, InvalidResource
from marline.api.resource import Ref

OwnerOf = Callable[[str], Ref | None]


@dataclass(frozen=True, slots=True)
class Range:
    """A block of addresses; its first two and its last one are not given out."""

    network: IPv4Network

    @property
    def size(self) -> int:
        return self.network.num_addresses - 3

    def candidates(self, name: str) -> Iterable[str]:
        """Every address of the block, the best for `name` first."""
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        start = int.from_bytes(digest) % self.size
        for step in range(self.size):
            yield str(self.network[2 + (start + step) % self.size])


@dataclass(frozen=True, slots=True)
class Addresses:
    """`services` for clusterIPs, `entries` for ServiceEntries."""

    services: Range
    entries: Range

    def for_service(self, ref: Ref, spec: dict[str, Any], old: dict[str, Any], owner_of: OwnerOf) -> None:
        """Set `clusterIP` and `clusterIPs` of a Service's spec, given or found. Raises `InvalidResource`."""
        if spec.get("type", "ClusterIP") == "ExternalName":
            return
        given, before = _cluster_ip(ref, spec), old.get("clusterIP", "")
        if before and given and given != before:
            raise _invalid(ref, f"{given!r}: may not change once set; it is {before}")
        chosen = given or before
        if not chosen:
            chosen = self._free(self.services, str(ref), ref, owner_of)
        elif chosen != "None":
            self._check(ref, chosen, owner_of)
        spec["clusterIP"], spec["clusterIPs"] = chosen, [chosen]

    def _check(self, ref: Ref, address: str, owner_of: OwnerOf) -> None:
        owner = owner_of(address)
        if owner not in (None, ref):
            raise _invalid(ref, f"{address} is already allocated to {owner}")
        if ip_address(address) not in self.services.network:
            raise _invalid(ref, f"{address} is not in the range of valid IPs, {self.services.network}")

    def for_entry(
        self, ref: Ref, obj: dict[str, Any], old: dict[str, Any], owner_of: OwnerOf
    ) -> list[dict[str, str]]:
        """`status.addresses` of a ServiceEntry, for those hosts that Istio gives one (istio.io, "DNS
        Proxying", address auto allocation): none has addresses of its own, and the hosts are no patterns."""
        spec = obj.get("spec") or {}
        hosts = spec.get("hosts") or ()
        labels = obj["metadata"].get("labels") or {}
        if (
            spec.get("addresses")
            or spec.get("resolution", "NONE") == "NONE"
            or any("*" in host for host in hosts)
            or labels.get("networking.istio.io/enable-autoallocate-ip") == "false"
        ):
            return []
        have = {item["host"]: item["value"] for item in (old.get("status") or {}).get("addresses") or ()}
        taken = set(have.values())
        found = []
        for host in hosts:
            if host not in have:
                have[host] = self._free(self.entries, f"{ref} {host}", ref, owner_of, taken)
                taken.add(have[host])
            found.append({"host": host, "value": have[host]})
        return found

    def _free(self, block: Range, name: str, ref: Ref, owner_of: OwnerOf, taken: Iterable[str] = ()) -> str:
        for address in block.candidates(name):
            if address not in taken and owner_of(address) is None:
                return address
        raise _invalid(ref, f"no address is left in {block.network}")


def _cluster_ip(ref: Ref, spec: dict[str, Any]) -> str:
    several = spec.get("clusterIPs") or []
    one = str(spec.get("clusterIP") or "")
    if len(several) > 1:
        raise _invalid(ref, "the mesh's virtual addresses are IPv4: expected one")
    if several and one and several[0] != one:
        raise _invalid(ref, f"the first of clusterIPs is {several[0]}, but clusterIP is {one}")
    return one or (str(several[0]) if several else "")


def _invalid(ref: Ref, message: str) -> InvalidResource:
    return InvalidResource(str(ref), (FieldError("spec.clusterIP", message),))
