"""Where the requests of one proxy to a host go, kind by kind: what `diff` compares before and after."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3 import base_pb2
from google.protobuf import json_format

from marline.explain.arrival import Peers
from marline.explain.conditions import asked_of
from marline.explain.connections import manager_of, tcp_proxy_of
from marline.explain.delivery import Courier
from marline.explain.request import CannotTell, Request
from marline.explain.steps import Ending, Fate
from marline.explain.view import CompiledView


@dataclass(frozen=True, slots=True)
class Reach:
    """What becomes of one kind of request (those that one route takes)."""

    said: str
    """Which requests, in words."""
    endings: tuple[Ending, ...]

    @property
    def shares(self) -> Mapping[str, float]:
        """By cluster."""
        found: dict[str, float] = {}
        for item in self.endings:
            if item.cluster:
                found[item.cluster] = found.get(item.cluster, 0.0) + item.share
        return found

    @property
    def refused(self) -> Ending | None:
        """An end at which nobody answers, if all of them are so."""
        if self.endings and all(item.fate is Fate.REFUSED for item in self.endings):
            return self.endings[0]
        return None


Key = tuple[str, str]
"""A virtual host or listener, and the condition of a route in it."""


def reach(view: CompiledView, peers: Peers) -> dict[Key, Reach]:
    """By virtual host (or listener) and condition, as far as the view goes."""
    courier = Courier(view, peers)
    found: dict[Key, Reach] = {}
    for name, host in hosts_of(view):
        for route in host.routes:
            key = (name, _condition(route.match))
            if key not in found:
                found[key] = Reach(_said(name, asked_of(route.match)), _route_endings(courier, route))
    for listener in view.listeners():
        if listener.traffic_direction == base_pb2.TrafficDirection.OUTBOUND:
            found |= _bytes(courier, listener)
    return found


def hosts_of(view: CompiledView) -> Iterator[tuple[str, Any]]:
    """All virtual hosts that are about hosts of the mesh, each with a name that people know."""
    for host in view.virtual_hosts():
        table, _, name = host.name.rpartition("/")
        yield f"{name} at {table}" if _is_gateways(table) else name, host
    for configuration in view.tables():
        for host in configuration.virtual_hosts:
            if "*" not in host.domains or _is_gateways(configuration.name):
                yield f"{host.name} at {configuration.name}", host


def _is_gateways(table: str) -> bool:
    """Of a gateway a host may be in several tables."""
    return table.startswith(("http.", "https."))


def _condition(match: Any) -> str:
    """A route's match as a key: equal matches are the same kind of requests."""
    return json_format.MessageToJson(match, indent=None, sort_keys=True)


def _said(name: str, condition: str) -> str:
    return f"{name} ({condition})" if condition else name


def _route_endings(courier: Courier, route: Any) -> tuple[Ending, ...]:
    kind = route.WhichOneof("action")
    if kind != "route":
        return (Ending(Fate.ANSWERED, f"the proxy itself answers ({kind})"),)
    action = route.route
    shares = [(item.name, item.weight.value) for item in action.weighted_clusters.clusters]
    return _endings(courier, shares or [(action.cluster, 1)], Request("any.invalid"))


def _endings(courier: Courier, shares: list[tuple[str, int]], request: Request | None) -> tuple[Ending, ...]:
    total = sum(weight for _, weight in shares)
    found: list[Ending] = []
    for name, weight in shares:
        try:
            found.append(courier.deliver(name, weight / total, request, 503).ending)
        except CannotTell as error:
            found.append(Ending(Fate.UNKNOWN, str(error), weight / total, cluster=name))
    return tuple(found)


def _bytes(courier: Courier, listener: Any) -> dict[Key, Reach]:
    found: dict[Key, Reach] = {}
    chains = [*listener.filter_chains, listener.default_filter_chain]
    for chain in chains:
        proxy = tcp_proxy_of(chain) if manager_of(chain) is None else None
        if proxy is None:
            continue
        shares = [(item.name, item.weight) for item in proxy.weighted_clusters.clusters]
        condition = _condition(chain.filter_chain_match)
        name = f"connections to {listener.name}"
        said = name if condition == "{}" else f"{name} ({condition})"
        found[name, condition] = Reach(said, _endings(courier, shares or [(proxy.cluster, 1)], None))
    return found
