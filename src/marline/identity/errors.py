"""What identity refuses, each with the facts that a caller needs and one sentence for a user."""

from dataclasses import dataclass


class IdentityError(Exception):
    """Base of all errors of this room."""


@dataclass(eq=False)
class InvalidSpiffeId(IdentityError):
    """A text that is no SPIFFE ID, or a name that cannot be part of one."""

    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text[:100]!r} is not a SPIFFE ID: {self.reason}"


@dataclass(eq=False)
class InvalidAuthority(IdentityError):
    """The files of a certificate authority cannot be used."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False)
class CsrRefused(IdentityError):
    """A certificate signing request that is not signed."""

    reason: str

    def __str__(self) -> str:
        return f"the certificate signing request {self.reason}"


@dataclass(eq=False)
class AuthorityExpired(IdentityError):
    """The authority's own certificate is not valid now, so nothing that it signs would be."""

    reason: str

    def __str__(self) -> str:
        return f"the certificate authority cannot sign: {self.reason}"


@dataclass(eq=False)
class InvalidLifetime(IdentityError):
    """A lifetime for certificates that cannot be had; both in seconds."""

    seconds: float
    minimum: float

    def __str__(self) -> str:
        return f"certificates must be valid for at least {self.minimum:g} s, not {self.seconds:g} s"


@dataclass(eq=False)
class SignFailed(IdentityError):
    """No certificate was had this time: the control plane is away, refused, or answered nonsense."""

    reason: str

    def __str__(self) -> str:
        return f"no certificate: {self.reason}"


@dataclass(eq=False)
class SocketUnusable(IdentityError):
    """The SDS server's Unix socket cannot be made."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"the identity socket {self.path} cannot be made: {self.reason}"


@dataclass(eq=False)
class InvalidToken(IdentityError):
    """A text that is no JWT-SVID, or one that is not valid here and now."""

    reason: str

    def __str__(self) -> str:
        return f"not a valid JWT-SVID: {self.reason}"


@dataclass(eq=False)
class InvalidBundle(IdentityError):
    """A document that is no SPIFFE trust bundle."""

    reason: str

    def __str__(self) -> str:
        return f"not a SPIFFE trust bundle: {self.reason}"


@dataclass(eq=False)
class InvalidSelector(IdentityError):
    """A text that selects no process."""

    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text[:100]!r} is not a selector: {self.reason}"


@dataclass(eq=False)
class InvalidFederation(IdentityError):
    """What `mesh.json` says of other trust domains cannot be done."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(eq=False)
class BundleUnavailable(IdentityError):
    """The bundle of another trust domain was not had this time."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"{self.url} {self.reason}"
