"""Patches of Envoy's configuration: what EnvoyFilters say, as values, and which workloads they are for."""

from dataclasses import dataclass
from typing import Final

from marline.api.envoy_messages import TYPES, read
from marline.api.faults import Faults
from marline.api.networking.envoy_filter import (
    ClusterMatch,
    EnvoyConfigObjectPatch,
    EnvoyFilterSpec,
    ListenerMatch,
    ProxyMatch,
    RouteConfigurationMatch,
)
from marline.api.resource import Ref, Resource
from marline.mesh.model import PatchId, PatchImpact
from marline.mesh.selection import Selection, select

ENVOY_FILTER: Final = ("networking.istio.io", "EnvoyFilter")
_OF_HOSTS: Final = ("CLUSTER", "VIRTUAL_HOST", "HTTP_ROUTE")
"""What is made for each host."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One change, and what it is made to."""

    id: PatchId
    apply_to: str
    operation: str
    value: bytes = b""
    """The serialised message; its type follows from `apply_to`."""
    context: str = "ANY"
    listener: ListenerMatch | None = None
    routes: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    filter_class: str = "UNSPECIFIED"
    """Of a plugin: its phase."""
    traffic: tuple[tuple[str, int], ...] = ()
    """Of a plugin: the contexts and ports (0: all of them) of which one must fit."""
    proxy_version: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    """What a proxy's node metadata must say."""

    @property
    def host(self) -> str:
        """The only host of which it changes something; "" if that may be any."""
        if self.cluster is not None:
            return self.cluster.service or self.cluster.name.rpartition("|")[2]
        if self.routes is not None and self.routes.vhost is not None:
            return self.routes.vhost.name.partition(":")[0]
        return ""


@dataclass(frozen=True, slots=True)
class PatchSet:
    """The patches of one resource, in their order."""

    source: Ref
    selection: Selection
    order: tuple[int, str, str]
    """Sets of a namespace are applied in the order of this (istio.io, "Envoy Filter", `priority`); plugins of
    all namespaces together in the order of theirs ("Wasm Plugin", `priority`)."""
    patches: tuple[Patch, ...]

    @property
    def impact(self) -> PatchImpact:
        hosts = {patch.host for patch in self.patches if patch.apply_to in _OF_HOSTS}
        return PatchImpact(self.selection, frozenset(hosts - {""}), every_host="" in hosts)


def envoy_filter_patches(item: Resource[EnvoyFilterSpec], root_namespace: str) -> PatchSet:
    """An EnvoyFilter's. A value that its type has ceased to allow since it was accepted is left out."""
    spec = item.spec
    labels = spec.workload_selector.labels if spec.workload_selector is not None else {}
    gateways = tuple(reference.name for reference in spec.target_refs)
    made = (_patch(PatchId(item.ref, index), one) for index, one in enumerate(spec.config_patches))
    return PatchSet(
        item.ref,
        select(item.namespace, root_namespace, labels, gateways),
        (spec.priority, item.metadata.creation_timestamp or "", item.name),
        tuple(patch for patch in made if patch is not None),
    )


def _patch(identity: PatchId, item: EnvoyConfigObjectPatch) -> Patch | None:
    match, value = item.match, b""
    if item.patch.operation != "REMOVE":
        message = read(item.patch.value, TYPES[item.apply_to], Faults())
        if message is None:
            return None
        value = message.SerializeToString(deterministic=True)
    proxy = match.proxy or ProxyMatch()
    return Patch(
        identity,
        item.apply_to,
        item.patch.operation,
        value,
        match.context,
        match.listener,
        match.route_configuration,
        match.cluster,
        item.patch.filter_class,
        proxy_version=proxy.proxy_version,
        metadata=tuple(sorted(proxy.metadata.items())),
    )
