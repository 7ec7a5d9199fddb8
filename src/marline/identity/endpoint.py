"""`POST /marline/v1/sign`: both of its ends, without HTTP. JSON objects in, JSON objects out."""

import datetime
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from marline.identity.ca import DEFAULT_TTL_SECONDS, MAX_CSR_BYTES, Authority
from marline.identity.errors import (
    AuthorityExpired,
    CsrRefused,
    IdentityError,
    InvalidAuthority,
    InvalidLifetime,
    InvalidSpiffeId,
    SignFailed,
)
from marline.identity.spiffe import SpiffeId, parse
from marline.identity.svid import SignedSvid

PATH: Final = "/marline/v1/sign"
Permit = Callable[[SpiffeId], None]
MAX_BODY_BYTES: Final = 32 * 1024
"""Of a request; who reads it from a socket must not read more."""
MIN_TTL_SECONDS: Final = 10.0
"""Below this, renewal has no time to fail."""
_REOPEN_SECONDS: Final = 3600.0

_log = logging.getLogger(__name__)


class _Request(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    csr: str
    spiffe_id: str


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    chain: str
    bundle: str
    not_after: datetime.datetime
    authority: str = ""


@dataclass(eq=False)
class SignRefused(IdentityError):
    """The request is refused; `code` is the HTTP status, `reason` that of a Kubernetes `Status`."""

    code: int
    reason: str
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True)
class SignEndpoint:
    """Signs for nodes. `reopen` loads the authority again, which renews it when it is due.

    Raises `InvalidLifetime`.
    """

    authority: Authority
    trust_domain: str
    ttl: float = DEFAULT_TTL_SECONDS
    """Seconds for which certificates are valid."""
    reopen: Callable[[float], Authority] | None = None
    _next_reopen: float = 0.0

    def __post_init__(self) -> None:
        if not self.ttl >= MIN_TTL_SECONDS:
            raise InvalidLifetime(self.ttl, MIN_TTL_SECONDS)

    def handle(self, body: object, permit: Permit, now: float) -> dict[str, Any]:
        """The answer to one request: `body` as decoded from JSON; `permit` raises for an identity that the
        caller may not have.

        Raises `SignRefused`.
        """
        request = _read(body)
        spiffe_id = self.identity(request.spiffe_id)
        permit(spiffe_id)
        self._renew(now)
        try:
            signed = self.authority.sign(request.csr, spiffe_id, self.ttl, now)
        except CsrRefused as error:
            raise SignRefused(400, "BadRequest", str(error)) from error
        except AuthorityExpired as error:
            raise SignRefused(503, "ServiceUnavailable", str(error)) from error
        not_after = datetime.datetime.fromtimestamp(signed.not_after, datetime.UTC)
        answer = _Answer(signed.chain_pem, signed.bundle_pem, not_after, signed.authority)
        made: dict[str, Any] = msgspec.to_builtins(answer)
        return made

    def identity(self, text: str) -> SpiffeId:
        """The workload that a request names. Raises `SignRefused`."""
        try:
            spiffe_id = parse(text)
        except InvalidSpiffeId as error:
            raise SignRefused(400, "BadRequest", str(error)) from error
        if spiffe_id.trust_domain != self.trust_domain:
            reason = f"{text} is not of this mesh's trust domain {self.trust_domain}"
            raise SignRefused(400, "BadRequest", reason)
        if not spiffe_id.service_account:
            raise SignRefused(400, "BadRequest", f"{text} does not have the form …/ns/<namespace>/sa/<name>")
        return spiffe_id

    def reload(self, now: float) -> None:
        """Load the authority again. Raises `InvalidAuthority`."""
        if self.reopen is not None:
            self.authority = self.reopen(now)

    def _renew(self, now: float) -> None:
        """A control plane may run for longer than its authority lives."""
        if self.reopen is None or now < self._next_reopen or not self.authority.renewal_due(now):
            return
        self._next_reopen = now + _REOPEN_SECONDS
        try:
            self.reload(now)
        except InvalidAuthority as error:
            _log.error("the certificate authority could not be renewed: %s", error)


def _read(body: object) -> _Request:
    try:
        request = msgspec.convert(body, _Request)
    except msgspec.ValidationError as error:
        raise SignRefused(400, "BadRequest", f"not a signing request: {error}") from error
    if len(request.csr) > MAX_CSR_BYTES:
        raise SignRefused(413, "RequestEntityTooLarge", f"csr is longer than {MAX_CSR_BYTES} bytes")
    return request


def request_of(csr_pem: str, spiffe_id: str) -> dict[str, str]:
    """What a node sends."""
    made: dict[str, str] = msgspec.to_builtins(_Request(csr_pem, spiffe_id))
    return made


def answer_of(body: Mapping[str, object] | object) -> SignedSvid:
    """What a node was answered, as decoded from JSON. Raises `SignFailed`."""
    try:
        answer = msgspec.convert(body, _Answer)
    except msgspec.ValidationError as error:
        raise SignFailed(f"the answer is not one of {PATH}: {error}") from error
    return SignedSvid(answer.chain, answer.bundle, answer.not_after.timestamp(), answer.authority)
