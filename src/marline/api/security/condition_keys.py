"""The keys of an AuthorizationPolicy's conditions (istio.io, "Authorization Policy Conditions")."""

import re
from dataclasses import dataclass
from typing import Final

from marline.api.security.claims import claim_names

REQUEST_HEADERS: Final = "request.headers"
REQUEST_CLAIMS: Final = "request.auth.claims"
FILTER_METADATA: Final = "experimental.envoy.filters"
SERVER_NAME: Final = "connection.sni"
PLAIN_KEYS: Final = (
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    SERVER_NAME,
)
SUPPORTED: Final = (
    f"{REQUEST_HEADERS}[NAME]",
    f"{REQUEST_CLAIMS}[NAME]",
    *PLAIN_KEYS,
    f"{FILTER_METADATA}.FILTER[KEY]",
)
REPLACED: Final = {
    "destination.namespace": "a policy is for the workloads of its own namespace",
    "destination.labels": "say it in the policy's selector",
    "destination.name": "say it in the policy's selector",
    "destination.user": "say it in the policy's selector",
}
"""Keys of Istio's former API, and what stands for them now."""
_BRACKETED: Final = re.compile(r"(?P<of>[^\[\]]+)(?P<names>(\[[^\[\]]+\])+)")


@dataclass(frozen=True, slots=True)
class ConditionKey:
    """What a condition is about."""

    attribute: str
    """One of `PLAIN_KEYS`, or the key without what is in brackets."""
    names: tuple[str, ...] = ()
    """What is in brackets: a header, a claim with the names from the outside in, a key of metadata."""


def condition_key(text: str) -> ConditionKey | None:
    """What a key means; None if there is no such key."""
    if text in PLAIN_KEYS:
        return ConditionKey(text)
    found = _BRACKETED.fullmatch(text)
    if found is None:
        return None
    attribute = found["of"]
    names = claim_names(found["names"]) or ()
    if attribute == REQUEST_CLAIMS:
        return ConditionKey(attribute, names)
    one = attribute == REQUEST_HEADERS or attribute.startswith(f"{FILTER_METADATA}.")
    return ConditionKey(attribute, names) if one and len(names) == 1 else None
