"""ReferenceGrant: a namespace allows references into it (gateway-api.sigs.k8s.io)."""

import re
from typing import Final

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api.route_rules import limited
from marline.api.model import Model
from marline.api.refusals import Refusals
from marline.api.resource import Resource


class GrantFrom(Model, frozen=True):
    """Resources of this kind in that namespace may refer …"""

    group: str
    kind: str
    namespace: str


class GrantTo(Model, frozen=True):
    """… to this kind here, or to the one of this name."""

    group: str
    kind: str
    name: str | None = None


class ReferenceGrantSpec(Model, frozen=True):
    from_: tuple[GrantFrom, ...]
    to: tuple[GrantTo, ...]


REFUSED: Final[Refusals] = {}
"""A grant for kinds that Marline does not know is for other controllers, and harms nothing here."""

_KIND: Final = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_MAX: Final = 16


def validate(resource: Resource[ReferenceGrantSpec], faults: Faults) -> None:
    """The schema's rules of ReferenceGrant's CRD."""
    sides: tuple[tuple[str, tuple[GrantFrom | GrantTo, ...]], ...] = (
        ("from", resource.spec.from_),
        ("to", resource.spec.to),
    )
    for name, items in sides:
        where = faults.at(name)
        if not items:
            where.add("is required: at least one", Fault.REQUIRED)
        limited(items, _MAX, where)
        for index, item in enumerate(items):
            if item.group:
                rules.dns_subdomain(item.group, where.item(index).at("group"))
            if not _KIND.fullmatch(item.kind):
                where.item(index).at("kind").add(f"{item.kind!r} is not the name of a kind")
    for index, trusted in enumerate(resource.spec.from_):
        rules.dns_label(trusted.namespace, faults.at("from").item(index).at("namespace"))
    for index, target in enumerate(resource.spec.to):
        if target.name:
            rules.dns_subdomain(target.name, faults.at("to").item(index).at("name"))
