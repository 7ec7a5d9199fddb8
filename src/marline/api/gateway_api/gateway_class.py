"""GatewayClass (gateway-api.sigs.k8s.io, v1)."""

from typing import Final

from marline.api.model import Model
from marline.api.refusals import Refusals


class ParametersReference(Model, frozen=True):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class GatewayClassSpec(Model, frozen=True):
    controller_name: str
    parameters_ref: ParametersReference | None = None
    description: str | None = None


REFUSED: Final[Refusals] = {"parametersRef": "parameters of gateway classes"}
