"""SPIFFE IDs as values (SPIFFE-ID specification, sections 2.1 to 2.4), and those of workloads as in Istio."""

import re
from dataclasses import dataclass
from typing import Final

from marline.identity.errors import InvalidSpiffeId

_SCHEME: Final = "spiffe://"
_MAX_BYTES: Final = 2048
_MAX_TRUST_DOMAIN: Final = 255
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A valid SPIFFE ID; made by `parse`, `workload_id` or `trust_domain_id`."""

    trust_domain: str
    path: str = ""
    """Empty for a trust domain's own ID, else segments that each begin with a slash."""

    def __post_init__(self) -> None:
        text = str(self)
        if len(text.encode()) > _MAX_BYTES:
            raise InvalidSpiffeId(text, f"it is longer than {_MAX_BYTES} bytes")
        if not self.trust_domain:
            raise InvalidSpiffeId(text, "the trust domain is empty")
        if len(self.trust_domain) > _MAX_TRUST_DOMAIN:
            raise InvalidSpiffeId(text, f"the trust domain is longer than {_MAX_TRUST_DOMAIN} characters")
        if not _TRUST_DOMAIN.fullmatch(self.trust_domain):
            reason = "a trust domain has only lower-case letters, digits, dots, dashes and underscores"
            raise InvalidSpiffeId(text, reason)
        if self.path:
            _check_path(text, self.path)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @property
    def namespace(self) -> str:
        """Of a workload's ID `/ns/<namespace>/sa/<service account>`; "" for any other path."""
        return _workload_parts(self.path)[0]

    @property
    def service_account(self) -> str:
        """Of a workload's ID; "" for any other path."""
        return _workload_parts(self.path)[1]


def _check_path(text: str, path: str) -> None:
    first, *segments = path.split("/")
    if first or not segments:
        raise InvalidSpiffeId(text, "the path does not begin with a slash")
    for segment in segments:
        if not segment:
            raise InvalidSpiffeId(text, "the path has an empty segment or ends with a slash")
        if segment in (".", ".."):
            raise InvalidSpiffeId(text, f"the path has the segment {segment!r}")
        if not _SEGMENT.fullmatch(segment):
            reason = "a path segment has only letters, digits, dots, dashes and underscores"
            raise InvalidSpiffeId(text, reason)


def _workload_parts(path: str) -> tuple[str, str]:
    match path.split("/"):
        case ["", "ns", namespace, "sa", account]:
            return namespace, account
    return "", ""


def parse(text: str) -> SpiffeId:
    """A SPIFFE ID from its text. Raises `InvalidSpiffeId`."""
    if not text.startswith(_SCHEME):
        raise InvalidSpiffeId(text, f"it does not begin with {_SCHEME}")
    domain, slash, path = text.removeprefix(_SCHEME).partition("/")
    if slash and not path:
        raise InvalidSpiffeId(text, "the path has an empty segment or ends with a slash")
    return SpiffeId(domain, slash + path)


def workload_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeId:
    """`spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, as Istio names workloads.

    Raises `InvalidSpiffeId`.
    """
    for name in (namespace, service_account):
        if "/" in name or not name:
            raise InvalidSpiffeId(name, "a namespace or service account is a name without slashes")
    return SpiffeId(trust_domain, f"/ns/{namespace}/sa/{service_account}")


def trust_domain_id(trust_domain: str) -> SpiffeId:
    """The ID of a trust domain, as its signing certificates carry it. Raises `InvalidSpiffeId`."""
    return SpiffeId(trust_domain)
