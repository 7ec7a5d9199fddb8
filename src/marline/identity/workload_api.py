"""The SPIFFE Workload API, without I/O (SPIFFE Workload API specification): who calls and what it is entitled
to come in, answers go out.

Every message of a stream has the whole state. One is sent when the call begins, as soon as there is
something, and whenever it has become another; a caller that is entitled to nothing any more is told so.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from google.protobuf.message import DecodeError

from marline.identity import workload_messages as messages
from marline.identity.bundle_document import ders
from marline.identity.errors import InvalidToken, SignFailed
from marline.identity.grpc_wire import Status
from marline.identity.jwt_svid import trust_domain_of, verify
from marline.identity.spiffe import SpiffeId, trust_domain_id
from marline.identity.svid import Svid
from marline.identity.trust_endpoint import MAX_AUDIENCES, TrustBundles
from marline.identity.unix_grpc import Reply, Stream

SERVICE: Final = "/SpiffeWorkloadAPI/"
SECURITY_HEADER: Final = "workload.spiffe.io"
NO_IDENTITY: Final = Reply(status=Status.PERMISSION_DENIED, reason="no identity issued")

Mint = Callable[[str, tuple[str, ...]], Awaitable[str]]
"""`(spiffe_id, audience)`: a JWT-SVID; raises `SignFailed`."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a caller may have now."""

    identities: tuple[SpiffeId, ...]
    svids: tuple[Svid, ...]
    """Of those identities, all that there are."""
    bundles: TrustBundles | None
    """None: they are not known yet."""


Entitled = Callable[[], Entitlement]


def lacks_header(path: str, metadata: Mapping[str, str]) -> Reply | None:
    """The refusal of a call without the header by which a client shows that it was not tricked into it
    (SPIFFE Workload Endpoint, section 6.1)."""
    if path.startswith(SERVICE) and metadata.get(SECURITY_HEADER) != "true":
        return Reply(status=Status.INVALID_ARGUMENT, reason=f"the header {SECURITY_HEADER}: true is missing")
    return None


def open_call(path: str, metadata: Mapping[str, str], entitled: Entitled, mint: Mint) -> Stream | Reply:
    """A call of this API begins."""
    refusal = lacks_header(path, metadata)
    if refusal is not None:
        return refusal
    match path.removeprefix(SERVICE):
        case "FetchX509SVID":
            return Fetch(entitled, _x509_svids)
        case "FetchX509Bundles":
            return Fetch(entitled, _x509_bundles)
        case "FetchJWTBundles":
            return Fetch(entitled, _jwt_bundles)
        case "FetchJWTSVID":
            return Ask(lambda message: _fetch_jwt(message, entitled, mint))
        case "ValidateJWTSVID":
            return Ask(lambda message: _validate(message, entitled))
    return Reply(status=Status.UNIMPLEMENTED, reason=f"the SPIFFE Workload API has no {path[:100]}")


class Fetch:
    """A stream of states."""

    ends_with_client = False

    def __init__(self, entitled: Entitled, state: Callable[[Entitlement], bytes | None]) -> None:
        self._entitled, self._state = entitled, state
        self._asked = False
        self._sent: bytes | None = None

    def received(self, message: bytes) -> Reply:
        """The request, which is empty."""
        if self._asked:
            return Reply(status=Status.INVALID_ARGUMENT, reason="one request is expected")
        self._asked = True
        return self.update()

    def update(self) -> Reply:
        if not self._asked:
            return Reply()
        entitlement = self._entitled()
        if not entitlement.identities:
            return NO_IDENTITY
        state = self._state(entitlement)
        if state is None or state == self._sent:
            return Reply()
        self._sent = state
        return Reply((state,))


class Ask:
    """One request, one answer."""

    ends_with_client = False

    def __init__(self, answer: Callable[[bytes], Reply]) -> None:
        self._answer = answer
        self._asked = False

    def received(self, message: bytes) -> Reply:
        if self._asked:
            return Reply(status=Status.INVALID_ARGUMENT, reason="one request is expected")
        self._asked = True
        return self._answer(message)

    def update(self) -> Reply:
        return Reply()


def _x509_svids(entitlement: Entitlement) -> bytes | None:
    if not entitlement.svids:
        return None
    made = messages.X509SVIDResponse()
    for svid in entitlement.svids:
        made.svids.add(
            spiffe_id=str(svid.spiffe_id),
            x509_svid=ders(svid.chain_pem),
            x509_svid_key=_key_der(svid.key_pem),
            bundle=ders(svid.bundle_pem),
        )
    for name, bundle in (entitlement.bundles.federated if entitlement.bundles else {}).items():
        made.federated_bundles[str(trust_domain_id(name))] = bundle.roots_der
    return _bytes(made)


def _x509_bundles(entitlement: Entitlement) -> bytes | None:
    bundles = entitlement.bundles
    if bundles is None:
        return None
    made = messages.X509BundlesResponse()
    for bundle in (bundles.own, *bundles.federated.values()):
        made.bundles[str(trust_domain_id(bundle.trust_domain))] = bundle.roots_der
    return _bytes(made)


def _jwt_bundles(entitlement: Entitlement) -> bytes | None:
    bundles = entitlement.bundles
    if bundles is None:
        return None
    made = messages.JWTBundlesResponse()
    for bundle in (bundles.own, *bundles.federated.values()):
        made.bundles[str(trust_domain_id(bundle.trust_domain))] = bundle.jwt_keys.encode()
    return _bytes(made)


def _fetch_jwt(message: bytes, entitled: Entitled, mint: Mint) -> Reply:
    try:
        request = messages.JWTSVIDRequest.FromString(message)
    except DecodeError as error:
        return Reply(status=Status.INVALID_ARGUMENT, reason=str(error))
    audience = tuple(request.audience)
    if not 1 <= len(audience) <= MAX_AUDIENCES or not all(audience):
        reason = f"audience has 1 to {MAX_AUDIENCES} items, none of them empty"
        return Reply(status=Status.INVALID_ARGUMENT, reason=reason)
    identities = [str(item) for item in entitled().identities]
    if request.spiffe_id:
        identities = [item for item in identities if item == request.spiffe_id]
    if not identities:
        return NO_IDENTITY
    return Reply(later=_mint(identities, audience, mint))


async def _mint(identities: list[str], audience: tuple[str, ...], mint: Mint) -> Reply:
    made = messages.JWTSVIDResponse()
    try:
        for spiffe_id in identities:
            made.svids.add(spiffe_id=spiffe_id, svid=await mint(spiffe_id, audience))
    except SignFailed as error:
        return Reply(status=Status.UNAVAILABLE, reason=str(error))
    return Reply((_bytes(made),), Status.OK)


def _validate(message: bytes, entitled: Entitled) -> Reply:
    entitlement = entitled()
    if not entitlement.identities:
        return NO_IDENTITY
    if entitlement.bundles is None:
        return Reply(status=Status.UNAVAILABLE, reason="the trust bundles are not known yet")
    try:
        request = messages.ValidateJWTSVIDRequest.FromString(message)
        if not request.audience:
            raise InvalidToken("it cannot be for an audience without a name")
        bundle = entitlement.bundles.of(trust_domain_of(request.svid))
        if bundle is None:
            raise InvalidToken("its trust domain is not one that is trusted here")
        verified = verify(request.svid, bundle.public_keys(), request.audience, time.time())
    except (DecodeError, InvalidToken) as error:
        return Reply(status=Status.INVALID_ARGUMENT, reason=str(error))
    made = messages.ValidateJWTSVIDResponse(spiffe_id=str(verified.spiffe_id))
    made.claims.update(verified.claims)
    return Reply((_bytes(made),), Status.OK)


def _key_der(pem: str) -> bytes:
    """PKCS #8, as the specification asks."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _bytes(message: Any) -> bytes:
    made: bytes = message.SerializeToString(deterministic=True)
    return made
