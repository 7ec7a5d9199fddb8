"""PeerAuthentication: which inbound connections a workload accepts (istio.io reference)."""

from typing import Literal

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model, Selector
from marline.api.resource import Resource


class MutualTLS(Model, frozen=True):
    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Model, frozen=True):
    selector: Selector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[int, MutualTLS] = {}


def validate(resource: Resource[PeerAuthenticationSpec], faults: Faults) -> None:
    """Istio's rules for a PeerAuthentication."""
    spec = resource.spec
    rules.labels(spec.selector.match_labels if spec.selector else {}, faults.at("selector").at("matchLabels"))
    if spec.port_level_mtls and not (spec.selector and spec.selector.match_labels):
        faults.at("portLevelMtls").add("needs a selector: ports belong to workloads")
    for port in spec.port_level_mtls:
        if not 1 <= port <= 65535:
            faults.at("portLevelMtls").key(str(port)).add(f"{port} is no port; expected 1 to 65535")
