"""EnvoyFilters' patches of a bootstrap (`applyTo: BOOTSTRAP`): which are for a proxy, what they make of it.

They have no part in what proxies are sent: a bootstrap is read once, when an Envoy starts (istio.io, "Envoy
Filter", `ApplyTo`), so who starts it asks here.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from marline.api.envoy_messages import TYPES, message_class, read
from marline.api.faults import Faults
from marline.api.networking.envoy_filter import EnvoyFilterSpec
from marline.api.resource import Resource
from marline.compile.patch_match import GATEWAY, INBOUND, OUTBOUND
from marline.compile.patch_merge import merge
from marline.compile.patched import is_for
from marline.mesh.model import Proxy, Role
from marline.mesh.patches import Patch, envoy_filter_patches
from marline.mesh.proxy import node_metadata

_TYPE = TYPES["BOOTSTRAP"]


def bootstrap_patches(
    filters: Iterable[Resource[EnvoyFilterSpec]], root_namespace: str, proxy: Proxy
) -> tuple[Patch, ...]:
    """Those for this proxy, in the order in which they are applied: the root namespace's first, each
    namespace's by priority."""
    workload, says = proxy.workloads[0], node_metadata(proxy)
    contexts = ("ANY", GATEWAY) if proxy.role is Role.GATEWAY else ("ANY", INBOUND, OUTBOUND)
    sets = [
        envoy_filter_patches(item, root_namespace)
        for item in filters
        if item.namespace in (root_namespace, workload.namespace)
        and any(patch.apply_to == "BOOTSTRAP" for patch in item.spec.config_patches)
    ]
    sets.sort(key=lambda item: (item.source.namespace != root_namespace, item.order))
    return tuple(
        patch
        for item in sets
        if item.selection.selects(workload.namespace, dict(workload.labels))
        for patch in item.patches
        if patch.apply_to == "BOOTSTRAP" and patch.context in contexts and is_for(patch, says)
    )


def patch_bootstrap(config: dict[str, Any], patches: Iterable[Patch]) -> dict[str, Any]:
    """The bootstrap, as JSON, with these merged into it in turn."""
    faults = Faults()
    message, kind = read(config, _TYPE, faults), message_class(_TYPE)
    if message is None or kind is None:
        raise ValueError(f"the bootstrap is none: {faults.errors}")
    for patch in patches:
        merge(message, kind.FromString(patch.value))
    made: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return made
