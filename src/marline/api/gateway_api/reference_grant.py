"""ReferenceGrant: a namespace allows references into it (gateway-api.sigs.k8s.io)."""

from marline.api.model import Model


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
