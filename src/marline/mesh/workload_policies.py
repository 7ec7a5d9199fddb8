"""Policies that select workloads by labels, or the Gateways that they are attached to.

istio.io, "Authentication Policy", "Selector field": a policy of the root namespace is for workloads of all
namespaces, any other for those of its own; those that fit all count together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.mesh.gateways import serving
from marline.mesh.model import Proxy, Role, Workload
from marline.mesh.selection import selection_of
from marline.mesh.snapshot import MeshSnapshot


def policies_for(
    snapshot: MeshSnapshot, table: Mapping[str, tuple[Resource[Any], ...]], proxy: Proxy, workload: Workload
) -> Iterator[Resource[Any]]:
    """Those of a table (by namespace, oldest first) that count for a workload: the root namespace's first,
    then its own, then those of the Gateways that it serves."""
    if not table:
        return
    served = [gateway.ref for gateway in serving(snapshot, proxy)] if proxy.role is Role.GATEWAY else []
    root = snapshot.settings.root_namespace
    labels = dict(workload.labels)
    for place in dict.fromkeys((root, workload.namespace, *(ref.namespace for ref in served))):
        for item in table.get(place, ()):
            targets = {Ref(GROUP, "Gateway", place, target.name) for target in item.spec.targets}
            if targets:
                counts = not targets.isdisjoint(served)
            else:
                counts = selection_of(item, root).selects(workload.namespace, labels)
            if counts:
                yield item
