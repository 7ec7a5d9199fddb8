"""RequestAuthentication at Envoy: where verified tokens' claims are, and how they are asked for.

envoyproxy.io, "JWT Authentication" (HTTP filter). As at Istio's proxies, the payload of a verified token
is in the request's dynamic metadata: under the filter's name, in `payload`. Whoever asks for a claim
(routes, authorization, rate limits) names it by `claim_path`.
"""

from collections.abc import Sequence
from typing import Any, Final

from envoy.type.matcher.v3 import metadata_pb2, value_pb2

FILTER: Final = "envoy.filters.http.jwt_authn"
"""The name of the filter, and the namespace of its metadata."""
PAYLOAD: Final = "payload"
"""The key under which the claims are: `{"payload": {"iss": …, "sub": …}}`."""
SPACE_DELIMITED: Final = ("scope", "permission")
"""Claims that are lists in the metadata, whatever the token has: their text is split at spaces (Istio,
`JWTRule.spaceDelimitedClaims`)."""


def claim_path(claims: Sequence[str]) -> tuple[str, ...]:
    """Where a claim stands in the metadata of `FILTER`; of a nested claim all names, from the outside in."""
    return (PAYLOAD, *claims)


def claim_matcher(claims: Sequence[str], value: Any | None) -> Any:
    """An Envoy `MetadataMatcher`: is the claim a text for this `StringMatcher`, or a list with such a text in
    it? With None: is there the claim at all?"""
    made = metadata_pb2.MetadataMatcher(filter=FILTER)
    for name in claim_path(claims):
        made.path.add(key=name)
    if value is None:
        made.value.present_match = True
    else:
        alone = value_pb2.ValueMatcher(string_match=value)
        made.value.or_match.value_matchers.add().string_match.CopyFrom(value)
        made.value.or_match.value_matchers.add().list_match.one_of.CopyFrom(alone)
    return made
