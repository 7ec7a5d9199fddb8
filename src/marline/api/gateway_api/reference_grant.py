"""ReferenceGrant: a namespace allows references into it (gateway-api.sigs.k8s.io)."""

from typing import Final

from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class GrantFrom(Model, frozen=True):
    group: str
    kind: str
    namespace: str


class GrantTo(Model, frozen=True):
    group: str
    kind: str
    name: str | None = None


class ReferenceGrantSpec(Model, frozen=True):
    from_: tuple[GrantFrom, ...]
    to: tuple[GrantTo, ...]


REFUSED: Final[Refusals] = {}


def validate(resource: Resource[ReferenceGrantSpec], faults: Faults) -> None:
    """The Gateway API's rules for this kind."""
