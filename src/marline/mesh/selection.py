"""Which workloads a policy is for: by namespace and labels, or by the Gateway that it is attached to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.api.resource import Resource

EVERYWHERE: Final = "*"
GATEWAY_NAME_LABEL: Final = "gateway.networking.k8s.io/gateway-name"
DEFAULT_GATEWAY: Final = ("istio", "ingressgateway")
"""The label of the gateway that serves every Gateway without a proxy of its own."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The workloads that something is for."""

    namespace: str
    """`EVERYWHERE`: those of all namespaces."""
    labels: tuple[tuple[str, str], ...] = ()
    """A workload must have them all."""
    gateways: tuple[str, ...] = ()
    """Names of Gateways of this namespace, whose proxies are meant; none: any proxy."""

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        if self.gateways:
            return any(self._serves(name, namespace, labels) for name in self.gateways)
        if self.namespace not in (EVERYWHERE, namespace):
            return False
        return all(labels.get(name) == value for name, value in self.labels)

    def _serves(self, gateway: str, namespace: str, labels: Mapping[str, str]) -> bool:
        """Is a workload a proxy of this Gateway? By its label, or as the default ingress gateway."""
        if GATEWAY_NAME_LABEL in labels:
            return labels[GATEWAY_NAME_LABEL] == gateway and namespace == self.namespace
        return labels.get(DEFAULT_GATEWAY[0]) == DEFAULT_GATEWAY[1]


def select(
    namespace: str, root_namespace: str, labels: Mapping[str, str], gateways: tuple[str, ...]
) -> Selection:
    """What a policy of a namespace selects: from the root namespace workloads of all namespaces."""
    everywhere = namespace == root_namespace and not gateways
    return Selection(EVERYWHERE if everywhere else namespace, tuple(sorted(labels.items())), gateways)


def selection_of(policy: Resource[Any], root_namespace: str) -> Selection:
    """The workloads that a policy with a `selector` or with targets may be for. Of Gateways it may say too
    much: which of them a proxy serves is not known by labels alone."""
    spec = policy.spec
    labels = spec.selector.match_labels if spec.selector is not None else {}
    targets = tuple(target.name for target in spec.targets)
    return select(policy.namespace, root_namespace, labels, targets)
