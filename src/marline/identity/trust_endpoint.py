"""`POST /marline/v1/jwt` and `GET /marline/v1/bundles`: both of their ends, without HTTP.

A node asks for a token on behalf of a workload that it has attested; keys stay in the control plane. It is
heard under the same conditions as when it asks for the workload's certificate.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from marline.identity.bundle_document import TrustBundle, read_bundle, write_bundle
from marline.identity.endpoint import Permit, SignEndpoint, SignRefused
from marline.identity.errors import InvalidAuthority, InvalidBundle, SignFailed
from marline.identity.jwt_keys import MAX_TOKEN_SECONDS, JwtKeys, private_key, public_jwk, signing
from marline.identity.jwt_svid import sign

JWT_PATH: Final = "/marline/v1/jwt"
BUNDLES_PATH: Final = "/marline/v1/bundles"
TOKEN_SECONDS: Final = 300.0
"""The life of a token, as in SPIRE: it cannot be taken back, and its bearer is believed."""
MAX_AUDIENCES: Final = 16
_MAX_AUDIENCE: Final = 1024
REFRESH_SECONDS: Final = 60
"""How often a bundle is to be looked at again (`spiffe_refresh_hint`)."""

Federated = Callable[[], Mapping[str, TrustBundle]]
"""The last good bundles of other trust domains, by name."""


class _Request(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    spiffe_id: str
    audience: tuple[str, ...]


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    token: str


class _Bundles(msgspec.Struct, frozen=True, rename="camel"):
    trust_domain: str
    bundles: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrustBundles:
    """What a node knows of trust domains: its own, and those that the mesh is federated with."""

    own: TrustBundle
    federated: Mapping[str, TrustBundle] = field(default_factory=dict)

    def of(self, trust_domain: str) -> TrustBundle | None:
        return self.own if trust_domain == self.own.trust_domain else self.federated.get(trust_domain)


@dataclass(slots=True)
class TrustEndpoint:
    """Mints JWT-SVIDs, and knows the mesh's own bundle and those of others."""

    certificates: SignEndpoint
    keys: JwtKeys
    federated: Federated = dict
    token_seconds: float = TOKEN_SECONDS
    _last: TrustBundle | None = None

    def mint(self, body: object, permit: Permit, now: float) -> dict[str, Any]:
        """The answer to one request for a token; `permit` raises for an identity that the caller may not
        have. Raises `SignRefused`."""
        try:
            request = msgspec.convert(body, _Request)
        except msgspec.ValidationError as error:
            raise SignRefused(400, "BadRequest", f"not a request for a token: {error}") from error
        _check_audience(request.audience)
        spiffe_id = self.certificates.identity(request.spiffe_id)
        permit(spiffe_id)
        try:
            key = signing(self.keys.at(now), now)
        except InvalidAuthority as error:
            raise SignRefused(503, "ServiceUnavailable", str(error)) from error
        life = min(self.token_seconds, MAX_TOKEN_SECONDS)
        token = sign(private_key(key), key.key_id, spiffe_id, request.audience, now, now + life)
        made: dict[str, Any] = msgspec.to_builtins(_Answer(token))
        return made

    def own(self, now: float) -> TrustBundle:
        """The mesh's own bundle. Raises `InvalidAuthority`."""
        keys = json.dumps({"keys": [public_jwk(key) for key in self.keys.at(now)]})
        roots = self.certificates.authority.bundle_pem
        last = self._last
        if last is None or (last.roots_pem, last.jwt_keys) != (roots, keys):
            # The time makes a sequence that also grows from one control plane to the next.
            sequence = max(int(now), last.sequence + 1 if last else 0)
            last = TrustBundle(self.certificates.trust_domain, roots, keys, sequence, REFRESH_SECONDS)
            self._last = last
        return last

    def bundles(self, now: float) -> dict[str, Any]:
        """All bundles, for a node. Raises `SignRefused`."""
        try:
            own = self.own(now)
        except InvalidAuthority as error:
            raise SignRefused(503, "ServiceUnavailable", str(error)) from error
        all_of_them = {**self.federated(), own.trust_domain: own}
        documents = {name: json.loads(write_bundle(item)) for name, item in all_of_them.items()}
        made: dict[str, Any] = msgspec.to_builtins(_Bundles(own.trust_domain, documents))
        return made


def _check_audience(audience: tuple[str, ...]) -> None:
    if not 1 <= len(audience) <= MAX_AUDIENCES:
        raise SignRefused(400, "BadRequest", f"audience has 1 to {MAX_AUDIENCES} items, not {len(audience)}")
    if any(not 1 <= len(item) <= _MAX_AUDIENCE for item in audience):
        raise SignRefused(400, "BadRequest", f"an audience has 1 to {_MAX_AUDIENCE} characters")


def token_request(spiffe_id: str, audience: tuple[str, ...]) -> dict[str, Any]:
    """What a node sends."""
    made: dict[str, Any] = msgspec.to_builtins(_Request(spiffe_id, audience))
    return made


def token_of(body: object) -> str:
    """What a node was answered. Raises `SignFailed`."""
    try:
        return msgspec.convert(body, _Answer).token
    except msgspec.ValidationError as error:
        raise SignFailed(f"the answer is not one of {JWT_PATH}: {error}") from error


def bundles_of(body: object) -> TrustBundles:
    """What a node was answered. Raises `SignFailed`."""
    try:
        answer = msgspec.convert(body, _Bundles)
        read = {name: read_bundle(name, json.dumps(item)) for name, item in answer.bundles.items()}
        own = read.pop(answer.trust_domain)
    except (msgspec.ValidationError, InvalidBundle, KeyError) as error:
        raise SignFailed(f"the answer is not one of {BUNDLES_PATH}: {error}") from error
    return TrustBundles(own, read)
