"""The kernel objects of transparent capture: one bridge for a mesh, one network namespace for a workload.

A namespace has no name: a file descriptor of this process holds it, so the kernel removes it, with its
veth pair and its rules, when this process ends in whatever way. What outlives a killed process is the
bridge and one nftables table; both are named after the mesh, are found by that name and removed.
"""

import ctypes
import errno
import ipaddress
import os
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pyroute2 import IPRoute, NetlinkError

from marline.node import nftables
from marline.node.envoy import PROXY_GID
from marline.node.errors import CaptureUnavailable, Obstacle
from marline.node.nftables import Chain, Table
from marline.node.ports import Reservations

Result = TypeVar("Result")

OUTBOUND_PORT, INBOUND_PORT = 15001, 15006
DNS_PORT, PROXY_DNS_PORT = 15053, 15054
"""Where the agent answers the application's questions, and those of Envoy, which needs real addresses."""
INTERFACE: Final = "eth0"
TABLE: Final = "marline"
_POOL: Final = ipaddress.IPv4Network("10.0.0.0/8")
_PREFIX: Final = 20
_ALONE: Final = 32
"""The prefix of addresses that the machine has on a bridge for gateways."""
_FORWARD: Final = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGE_PREFIX: Final = "marline-"
_FORWARDING_WAS_OFF: Final = "forwarding was off"
_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


def bridge_name(mesh_id: str) -> str:
    return f"{_BRIDGE_PREFIX}{mesh_id}"


def veth_name(mesh_id: str, short_id: str) -> str:
    """The machine's end of a workload's veth pair; an interface's name has at most 15 bytes."""
    return f"mrl{mesh_id}{short_id[:6]}"


def host_table(mesh_id: str) -> str:
    return f"marline-{mesh_id}"


def in_thread(action: Callable[[], Result]) -> Result:
    """Run in a thread of its own that ends afterwards: it may leave its network namespace."""
    outcome: list[Result] = []
    fault: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(action())
        except BaseException as error:  # noqa: BLE001 (raised again below)
            fault.append(error)

    thread = threading.Thread(target=body, name="network")
    thread.start()
    thread.join()
    if fault:
        raise fault[0]
    return outcome[0]


def capture_table(datagrams: Collection[int] = ()) -> Table:
    """What redirects a workload's traffic, inside its namespace.

    As Istio's iptables rules do (istio.io, "Understanding Traffic Routing"; istio-iptables): Envoy's own
    traffic is known by its group, loopback is left alone, and Envoy's calls of its own workload's address
    go in by the front door. 127.0.0.6 is where the inbound passthrough comes from.

    No proxy stands before UDP, which has no identity: nothing arrives but at the ports `datagrams`, and
    answers to what the workload itself has sent.
    """
    tcp, udp = nftables.protocol("tcp"), nftables.protocol("udp")
    from_peers = nftables.interface("iifname", INTERFACE)
    admission: list[nftables.Rule] = [
        (from_peers, udp, nftables.destination_port(port), nftables.accept()) for port in sorted(datagrams)
    ]
    admission.append((from_peers, udp, nftables.new_connection(), nftables.drop()))
    envoy, loopback = nftables.group(PROXY_GID), nftables.leaves_by_loopback()
    dns: list[nftables.Rule] = []
    for transport in ("udp", "tcp"):
        question = (nftables.protocol(transport), nftables.destination_port(53))
        dns.append((*question, envoy, nftables.redirect(PROXY_DNS_PORT)))
        dns.append((*question, nftables.redirect(DNS_PORT)))
    to_itself: nftables.Rule = (
        tcp,
        loopback,
        nftables.destination("127.0.0.0", 8, equal=False),
        nftables.source("127.0.0.6", 32, equal=False),
        envoy,
        nftables.redirect(INBOUND_PORT),
    )
    output = (
        *dns,
        to_itself,
        (envoy, nftables.accept()),
        (loopback, nftables.accept()),
        (tcp, nftables.redirect(OUTBOUND_PORT)),
    )
    arriving = ((tcp, nftables.redirect(INBOUND_PORT)),)
    return Table(
        nftables.IPV4,
        TABLE,
        (
            Chain("output", "nat", nftables.OUTPUT, nftables.DNAT_PRIORITY, output),
            Chain("prerouting", "nat", nftables.PREROUTING, nftables.DNAT_PRIORITY, arriving),
            Chain("input", "filter", nftables.INPUT, nftables.FILTER_PRIORITY, tuple(admission)),
        ),
    )


def forwarding_table(mesh_id: str, subnet: ipaddress.IPv4Network) -> Table:
    """In the machine's own namespace: workloads reach the outside, which does not reach them."""
    bridge = bridge_name(mesh_id)
    outwards = nftables.interface("oifname", bridge, equal=False)
    leaving = (
        nftables.source(str(subnet.network_address), subnet.prefixlen),
        outwards,
        nftables.masquerade(),
    )
    intruding = (
        nftables.interface("oifname", bridge),
        nftables.interface("iifname", bridge, equal=False),
        nftables.new_connection(),
        nftables.drop(),
    )
    return Table(
        nftables.IPV4,
        host_table(mesh_id),
        (
            Chain("postrouting", "nat", nftables.POSTROUTING, nftables.SNAT_PRIORITY, (leaving,)),
            Chain("forward", "filter", nftables.FORWARD, nftables.FILTER_PRIORITY, (intruding,)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Bridge:
    """A mesh's bridge."""

    mesh_id: str
    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        return str(self.subnet.network_address + 1)

    def addresses(self) -> Iterator[str]:
        """All addresses that workloads may have."""
        hosts = self.subnet.hosts()
        next(hosts)
        return (str(address) for address in hosts)


def find_bridge(mesh_id: str) -> Bridge | None:
    """The bridge of a mesh that is there already."""

    def find() -> Bridge | None:
        with IPRoute() as route:
            found = route.link_lookup(ifname=bridge_name(mesh_id))
            if not found:
                return None
            for message in route.get_addr(index=found[0], family=2):
                if message["prefixlen"] == _PREFIX:  # the others are gateways'
                    address = f"{message.get_attr('IFA_ADDRESS')}/{_PREFIX}"
                    return Bridge(mesh_id, ipaddress.IPv4Network(address, strict=False))
            return None

    return in_thread(find)


def make_bridge(mesh_id: str, reservations: Reservations) -> Bridge:
    """A new bridge on a subnet that nobody uses, and the rules around it. Raises `CaptureUnavailable`."""

    def make() -> Bridge:
        with IPRoute() as route:
            subnet = ipaddress.IPv4Network(
                reservations.first("subnet", (str(item) for item in _free_subnets(_used(route))))
            )
            bridge = Bridge(mesh_id, subnet)
            memory = memory_of(_bridges(route).values(), forwards=_FORWARD.read_text().strip() != "0")
            route.link("add", ifname=bridge_name(mesh_id), kind="bridge")
            index = route.link_lookup(ifname=bridge_name(mesh_id))[0]
            route.addr("add", index=index, address=bridge.gateway, prefixlen=_PREFIX)
            route.link("set", index=index, state="up", ifalias=memory)
        nftables.install(forwarding_table(mesh_id, subnet))
        _FORWARD.write_text("1\n")
        return bridge

    try:
        return in_thread(make)
    except (NetlinkError, OSError, nftables.NftablesError) as error:
        remove_bridge(mesh_id)
        raise CaptureUnavailable(f"the bridge {bridge_name(mesh_id)}: {error}") from error


def adopt_bridge(mesh_id: str, reservations: Reservations) -> Bridge | None:
    """The bridge that a killed agent has left, for the workloads of other processes that are still on it;
    None if there is none that can be used."""
    bridge = find_bridge(mesh_id)
    if bridge is None or not reservations.claim(f"subnet/{bridge.subnet}"):
        return None
    in_thread(lambda: _remove_addresses(bridge))
    nftables.install(forwarding_table(mesh_id, bridge.subnet))
    _FORWARD.write_text("1\n")
    return bridge


def add_address(bridge: Bridge, address: str) -> None:
    """Give the machine itself another address on the bridge. Raises `CaptureUnavailable`."""

    def add() -> None:
        with IPRoute() as route:
            index = route.link_lookup(ifname=bridge_name(bridge.mesh_id))[0]
            route.addr("replace", index=index, address=address, prefixlen=_ALONE)

    try:
        in_thread(add)
    except (NetlinkError, OSError, IndexError) as error:
        raise CaptureUnavailable(f"the address {address}: {error}") from error


def remove_address(bridge: Bridge, address: str) -> None:
    """Take it away again; it may be gone with the bridge."""
    in_thread(lambda: _remove_addresses(bridge, address))


def _remove_addresses(bridge: Bridge, only: str = "") -> None:
    """Those that were added; after an agent that was killed they are nobody's."""
    with IPRoute() as route:
        for index in route.link_lookup(ifname=bridge_name(bridge.mesh_id)):
            for message in route.get_addr(index=index, family=2):
                address = message.get_attr("IFA_ADDRESS")
                if message["prefixlen"] == _ALONE and only in ("", address):
                    route.addr("del", index=index, address=address, prefixlen=_ALONE)


def _used(route: Any) -> list[ipaddress.IPv4Network]:
    """All networks that this machine has an address in or a route to, but for the default route."""
    found = []
    for message in route.get_addr(family=2):
        found.append(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")
    for message in route.get_routes(family=2):
        if message.get_attr("RTA_DST"):
            found.append(f"{message.get_attr('RTA_DST')}/{message['dst_len']}")
    return [ipaddress.IPv4Network(item, strict=False) for item in found]


def _free_subnets(used: list[ipaddress.IPv4Network]) -> Iterator[ipaddress.IPv4Network]:
    """From the top of 10.0.0.0/8, which people number from the bottom; not where clusterIPs are."""
    taken = [*used, ipaddress.IPv4Network("10.96.0.0/12")]
    candidates = list(_POOL.subnets(new_prefix=_PREFIX))
    # A route of all of 10.0.0.0/8 is a site's; the part of it that is not on this machine may be used.
    narrow = [network for network in taken if network.prefixlen > _POOL.prefixlen]
    return (item for item in reversed(candidates) if not any(item.overlaps(other) for other in narrow))


def remove_bridge(mesh_id: str) -> bool:
    """Remove a mesh's bridge and rules, if they are there, and the veth pairs of killed workloads. Returns
    whether there was a bridge."""

    def remove() -> bool:
        try:
            nftables.remove(nftables.IPV4, host_table(mesh_id))
        except nftables.NftablesError as error:
            if error.number == errno.EPERM:
                return False  # and so neither did this user make any
            if error.number not in _ABSENT:
                raise
        with IPRoute() as route:
            bridges = _bridges(route)
            memory = bridges.pop(bridge_name(mesh_id), None)
            prefix = veth_name(mesh_id, "")
            for link in route.get_links():
                if link.get_attr("IFLA_IFNAME").startswith(prefix):
                    _delete_link(route, link["index"])
            if memory is None:
                return False
            for index in route.link_lookup(ifname=bridge_name(mesh_id)):
                route.link("del", index=index)
        if memory == _FORWARDING_WAS_OFF and not bridges:
            _FORWARD.write_text("0\n")
        return True

    return in_thread(remove)


def _bridges(route: Any) -> dict[str, str]:
    """The bridges of all meshes, and what each remembers (its alias)."""
    links = ((link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_IFALIAS")) for link in route.get_links())
    return {name: alias or "" for name, alias in links if name.startswith(_BRIDGE_PREFIX)}


def memory_of(others: Collection[str], *, forwards: bool) -> str:
    """What a new bridge has to remember for the time when it is removed, by whomever: whether the machine
    forwarded packets before the first mesh. `others`: what the other meshes' bridges remember."""
    was_off = _FORWARDING_WAS_OFF in others if others else not forwards
    return _FORWARDING_WAS_OFF if was_off else "forwarding was on"


_ABSENT: Final = (2, 93, 95, 97)
"""ENOENT; and what a kernel without nf_tables says."""


def make_namespace(bridge: Bridge, address: str, veth: str, datagrams: Collection[int] = ()) -> int:
    """A network namespace with one interface on the bridge, captured; UDP arrives at the ports `datagrams`.
    Returns a descriptor that holds it.

    Raises `CaptureUnavailable`.
    """

    def make() -> int:
        with IPRoute() as host:
            if _libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                peer = {"ifname": INTERFACE, "net_ns_fd": descriptor}
                host.link("add", ifname=veth, kind="veth", peer=peer)
                master = host.link_lookup(ifname=bridge_name(bridge.mesh_id))[0]
                host.link("set", index=host.link_lookup(ifname=veth)[0], master=master, state="up")
                _furnish(bridge, address, datagrams)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    try:
        return in_thread(make)
    except (NetlinkError, OSError, IndexError, nftables.NftablesError) as error:
        raise CaptureUnavailable(f"a network namespace: {error}") from error


def remove_link(name: str) -> None:
    """Remove a veth pair now; the kernel would do it with its namespace, but some time later."""

    def remove() -> None:
        with IPRoute() as route:
            for index in route.link_lookup(ifname=name):
                _delete_link(route, index)

    in_thread(remove)


def _delete_link(route: Any, index: int) -> None:
    try:
        route.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:  # the kernel was faster
            raise


def _furnish(bridge: Bridge, address: str, datagrams: Collection[int]) -> None:
    """From inside: addresses, routes, rules."""
    _set("net/ipv6/conf/all/disable_ipv6", "1")
    _set("net/ipv4/ip_unprivileged_port_start", "0")
    with IPRoute() as inside:
        inside.link("set", index=nftables.LOOPBACK_INDEX, state="up")
        index = inside.link_lookup(ifname=INTERFACE)[0]
        inside.link("set", index=index, address=hardware_address(address))
        inside.addr("add", index=index, address=address, prefixlen=bridge.subnet.prefixlen)
        inside.link("set", index=index, state="up")
        inside.route("add", dst="default", gateway=bridge.gateway)
    nftables.install(capture_table(datagrams))


def hardware_address(address: str) -> str:
    """The MAC address that belongs to an IP address. A new workload may have the address of one that has
    just ended, whose peers would else send to its old interface for as long as they remember it."""
    packed = ipaddress.IPv4Address(address).packed
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x4D, *packed))


def _set(name: str, value: str) -> None:
    """A setting of this namespace; one that the kernel does not have needs no change."""
    path = Path("/proc/sys") / name
    if path.exists():
        path.write_text(f"{value}\n")


def trial() -> Obstacle | None:
    """Can root capture traffic here? What is in the way, tried in a namespace of its own."""

    def attempt() -> Obstacle | None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            return _obstacle("no network namespace can be made", ctypes.get_errno(), "CONFIG_NET_NS")
        try:
            with IPRoute() as route:
                route.link("add", ifname="bridge", kind="bridge")
                route.link("add", ifname="one", kind="veth", peer={"ifname": "two"})
        except NetlinkError as error:
            return _obstacle("no bridge or veth pair can be made", error.code, "bridge and veth")
        try:
            nftables.install(capture_table())
            nftables.install(forwarding_table("000000", ipaddress.IPv4Network("10.0.0.0/20")))
        except nftables.NftablesError as error:
            return _obstacle("no nftables rules can be made", error.number, _NFT_MODULES)
        return None

    return in_thread(attempt)


_NFT_MODULES: Final = "nf_tables, nft_chain_nat, nft_redir, nft_masq and nft_ct"


def _obstacle(what: str, number: int, modules: str) -> Obstacle:
    """Root may lack the right, as in most containers, or the kernel a part."""
    message = f"{what}: {os.strerror(number)}"
    if number in (errno.EPERM, errno.EACCES):
        rights = "CAP_NET_ADMIN and CAP_SYS_ADMIN, which most containers lack"
        return Obstacle(message, f"give this process the capabilities {rights}")
    return Obstacle(
        message,
        f"load the kernel modules {modules}; on Debian they come with the package linux-image-amd64",
    )
