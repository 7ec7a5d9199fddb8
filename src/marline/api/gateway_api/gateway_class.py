"""GatewayClass (gateway-api.sigs.k8s.io, v1)."""

from marline.api.model import Model


class ParametersReference(Model, frozen=True):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class GatewayClassSpec(Model, frozen=True):
    controller_name: str
    parameters_ref: ParametersReference | None = None
    description: str | None = None
