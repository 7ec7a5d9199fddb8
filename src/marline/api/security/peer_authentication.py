"""PeerAuthentication: which inbound connections a workload accepts (istio.io reference)."""

from typing import Literal

from marline.api.model import Model, Selector


class MutualTLS(Model, frozen=True):
    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Model, frozen=True):
    selector: Selector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[int, MutualTLS] = {}
