"""Which trust domains a mesh is federated with, and whether it shows its own bundle: part of `mesh.json`.

The two profiles are those of SPIFFE Federation, section 5: `https_web`, a server that the machine's
certificate authorities vouch for, and `https_spiffe`, one that shows an X.509-SVID.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from marline.identity.errors import InvalidFederation, InvalidSpiffeId
from marline.identity.spiffe import parse, trust_domain_id

Profile = Literal["https_web", "https_spiffe"]
SPIFFE: Final = "https_spiffe"


class _Part(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A part of `mesh.json`."""


class TrustedDomain(_Part, frozen=True):
    """Another trust domain whose workloads are to be known by their own identities."""

    trust_domain: str
    url: str
    """Of its bundle endpoint."""
    profile: Profile = SPIFFE
    spiffe_id: str = ""
    """Of its bundle endpoint; for `https_spiffe`."""
    bundle_file: str = ""
    """Its bundle before it was ever fetched; for `https_spiffe`, whose endpoint is verified with it."""


class ShownBundle(_Part, frozen=True):
    """The endpoint at which others fetch this mesh's bundle."""

    port: Annotated[int, Meta(ge=1, le=65535)]
    address: str = "127.0.0.1"
    profile: Profile = SPIFFE
    certificate_file: str = ""
    """For `https_web`, with what leads to a root; in PEM."""
    key_file: str = ""


def check_federation(own: str, trusted: tuple[TrustedDomain, ...], shown: ShownBundle | None) -> None:
    """Raises `InvalidFederation`."""
    names = [item.trust_domain for item in trusted]
    for index, item in enumerate(trusted):
        where = f"federatesWith[{index}]"
        try:
            trust_domain_id(item.trust_domain)
            endpoint = parse(item.spiffe_id).trust_domain if item.spiffe_id else ""
        except InvalidSpiffeId as error:
            raise InvalidFederation(where, str(error)) from error
        if item.trust_domain == own or names.count(item.trust_domain) > 1:
            raise InvalidFederation(where, f"{item.trust_domain} is there already; leave it out")
        parts = urlsplit(item.url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
            raise InvalidFederation(f"{where}.url", f"{item.url!r} is not an https URL without a user")
        _check_profile(where, item, endpoint)
    if shown is None:
        return
    files = bool(shown.certificate_file) + bool(shown.key_file)
    if files != (0 if shown.profile == SPIFFE else 2):
        needed = "without certificateFile and keyFile" if shown.profile == SPIFFE else "with both of them"
        raise InvalidFederation("bundleEndpoint", f"{shown.profile} is configured {needed}")


def _check_profile(where: str, item: TrustedDomain, endpoint: str) -> None:
    if item.profile != SPIFFE:
        if item.spiffe_id:
            raise InvalidFederation(f"{where}.spiffeId", f"belongs to the profile {SPIFFE}")
        return
    if not item.spiffe_id:
        raise InvalidFederation(f"{where}.spiffeId", f"is required for {SPIFFE}: who the endpoint is")
    if endpoint != item.trust_domain:
        raise InvalidFederation(f"{where}.spiffeId", f"is not of the trust domain {item.trust_domain}")
    if not item.bundle_file:
        raise InvalidFederation(f"{where}.bundleFile", f"is required for {SPIFFE}: what to verify it with")
