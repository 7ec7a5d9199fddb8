"""Credentials of the embedded API server: what is asked of `/marline/v1/…`, at both of its ends."""

import re
from typing import Final

import msgspec

PATH: Final = "/marline/v1/tokens"
CERTIFICATES: Final = "/marline/v1/certificates"
JOIN_TOKENS: Final = "/marline/v1/join-tokens"
JOIN: Final = "/marline/v1/join"
"""Needs no credentials but a join token."""
ADMINS: Final = "system:masters"
"""May do all, whatever roles say."""
NODES: Final = "marline:nodes"
"""May read what the mesh is made of, and act for the workloads that are registered to them."""
NODE_USER: Final = "system:node:"
"""A node's user name begins with it, as in Kubernetes."""
NODE_LABEL: Final = "marline.io/node"
"""Of a WorkloadEntry: the node that it is registered to."""
_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,50}[a-z0-9])?")


def is_node_name(name: str) -> bool:
    """A node's name is a label's value, and a part of a user's name."""
    return bool(_NODE_NAME.fullmatch(name))


class TokenRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A token for a user of this name is to be made (POST), or all of the user's are to end (DELETE)."""

    user: str
    groups: tuple[str, ...] = ()
    ttl_seconds: float = 0
    """0: until it is revoked."""


class TokenAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The token, which cannot be read again; or how many have ended."""

    token: str = ""
    revoked: int = 0


class JoinTokenRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A token is to be made with which the node of this name can join, once."""

    node: str
    ttl_seconds: float = 600


class JoinRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A node's certificate is to be signed."""

    node: str
    token: str
    csr: str


class CertificateRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A user's certificate is to be signed."""

    user: str
    csr: str
    groups: tuple[str, ...] = ()
    ttl_seconds: float = 24 * 3600


class CertificateAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A client certificate, PEM; its key has stayed with who asked."""

    certificate: str
