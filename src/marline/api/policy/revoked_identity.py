"""RevokedIdentity: a workload's identity that nobody accepts any more, although its certificate is valid.

Certificates are short-lived, so there is no list of revoked ones; what a revocation adds is the time until
they end. No other proxy accepts the identity, established connections are ended, and no certificate is signed
for it, until the RevokedIdentity is removed.
"""

import re
from typing import Final

from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.resource import Resource

_ID: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_MAX_LENGTH: Final = 2048


class RevokedIdentitySpec(Model, frozen=True):
    spiffe_id: str
    """The whole identity, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`."""
    reason: str = ""
    """Why, for whoever reads it later."""


def validate(resource: Resource[RevokedIdentitySpec], faults: Faults) -> None:
    where = faults.at("spec").at("spiffeId")
    text = resource.spec.spiffe_id
    if where.required(text, "spiffeId") and (len(text) > _MAX_LENGTH or not _ID.fullmatch(text)):
        where.add(
            f"{text[:100]!r} is not the SPIFFE ID of a workload; expected one such as"
            " spiffe://cluster.local/ns/default/sa/reviews"
        )
