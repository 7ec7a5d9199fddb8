"""GatewayClass (gateway-api.sigs.k8s.io, v1)."""

import re
from typing import Final

from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.resource import Resource


class ParametersReference(Model, frozen=True):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class GatewayClassSpec(Model, frozen=True):
    controller_name: str
    parameters_ref: ParametersReference | None = None
    description: str | None = None


_CONTROLLER: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
)


def validate(resource: Resource[GatewayClassSpec], faults: Faults) -> None:
    """The schema's rules of GatewayClass's CRD. Classes of other controllers are theirs."""
    spec = resource.spec
    if len(spec.controller_name) > 253 or not _CONTROLLER.fullmatch(spec.controller_name):
        faults.at("controllerName").add(
            f"{spec.controller_name!r} is not DOMAIN/PATH, such as marline.io/gateway-controller"
        )
    if spec.description is not None and len(spec.description) > 64:
        faults.at("description").add("is longer than 64 characters")
