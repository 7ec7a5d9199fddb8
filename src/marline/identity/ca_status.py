"""What the control plane says of its authority, at both ends of `/marline/v1/ca`."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from marline.identity.ca import Authority

PATH: Final = "/marline/v1/ca"
METRICS_PATH: Final = "/metrics"
WARN_AFTER: Final = 2 / 3
"""Part of a certificate's life after which it should have been replaced."""


class Certificate(msgspec.Struct, frozen=True, rename="camel"):
    """A certificate, and whether it is to be replaced."""

    role: Literal["root", "signing", "workload"]
    name: str
    not_before: float
    not_after: float
    fingerprint: str = ""
    """SHA-256 of a root or a signing certificate."""
    failure: str = ""
    """Why it was not renewed the last time."""

    def warning(self, now: float) -> str:
        """One sentence, once two thirds of its life are over; "" before."""
        if now >= self.not_after:
            return f"the {self.role} certificate of {self.name} has expired{self._why}"
        if now < self.not_before + (self.not_after - self.not_before) * WARN_AFTER:
            return ""
        left = (self.not_after - now) / 86400
        when = f"{left:.0f} days" if left >= 2 else f"{left * 24:.1f} hours"
        return f"the {self.role} certificate of {self.name} ends in {when}{self._why}"

    @property
    def _why(self) -> str:
        return f", and was not renewed: {self.failure}" if self.failure else ""


class Rotation(msgspec.Struct, frozen=True, rename="camel"):
    """A change of the root that is under way."""

    phase: str
    since: float


class CaStatus(msgspec.Struct, frozen=True, rename="camel"):
    trust_domain: str
    source: str
    """`own`, or the directory of plugged-in certificates."""
    authority: str
    """Its version."""
    certificates: tuple[Certificate, ...]
    """Roots, signing certificate, then those of workloads."""
    rotation: Rotation | None
    proxies: int
    """How many are known."""
    pending: tuple[str, ...]
    """Those that have not acknowledged this version, by node id."""
    warnings: tuple[str, ...]


class CaRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What `POST` asks for."""

    action: Literal["rotate", "reload"]


def authority_certificates(authority: Authority) -> Iterable[Certificate]:
    """Those of the authority itself."""
    for root in authority.roots:
        yield _described("root", root)
    for item in dict.fromkeys((authority.certificate, *authority.chain)):
        if item not in authority.roots:
            yield _described("signing", item)


def _described(role: Literal["root", "signing"], item: x509.Certificate) -> Certificate:
    return Certificate(
        role,
        item.subject.rfc4514_string(),
        item.not_valid_before_utc.timestamp(),
        item.not_valid_after_utc.timestamp(),
        item.fingerprint(hashes.SHA256()).hex(),
    )


def metrics(status: CaStatus, now: float) -> str:
    """What there is to watch, in Prometheus' text format. Of workloads only those that are to be replaced:
    the others are as many as there are proxies."""
    due = [item for item in status.certificates if item.role != "workload" or item.warning(now)]
    labels = [f'role="{item.role}",name="{_escaped(item.name)}"' for item in due]
    lines = ["# TYPE marline_certificate_not_after_seconds gauge"]
    pairs = list(zip(labels, due, strict=True))
    lines += [f"marline_certificate_not_after_seconds{{{text}}} {item.not_after:.0f}" for text, item in pairs]
    lines += ["# TYPE marline_certificate_warning gauge"]
    lines += [f"marline_certificate_warning{{{text}}} {int(bool(item.warning(now)))}" for text, item in pairs]
    lines += ["# TYPE marline_authority_proxies gauge", f"marline_authority_proxies {status.proxies}"]
    lines += ["# TYPE marline_authority_proxies_pending gauge"]
    lines += [f"marline_authority_proxies_pending {len(status.pending)}"]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
