"""Who is asking, and may they (kubernetes.io, "Authenticating", "Authorization").

`system:masters` may do all. A node's agent may read all, and write what it registers: workloads,
services, events. Everybody else is known and may do nothing but ask who they are.
"""

from typing import Final

from aiohttp import web

from marline.store.embedded.credentials import ADMINS, NODES, ApiCredentials, User, user_of_certificate
from marline.store.interface import Forbidden

USER: Final = web.RequestKey("user", User)
"""Where a request's user is: `request[USER]`."""

OPEN: Final = ("/healthz", "/livez", "/readyz", "/version")
"""Paths that need no credentials: they say nothing about the mesh."""

_READ: Final = ("get", "list", "watch")
_NODE_WRITES: Final = (
    ("networking.istio.io", "workloadentries"),
    ("", "services"),
    ("", "events"),
    ("events.k8s.io", "events"),
)


def authenticate(request: web.Request, credentials: ApiCredentials) -> User | None:
    """The user of the client certificate (verified by TLS) or of the bearer token, if any is valid."""
    transport = request.transport
    user = user_of_certificate(transport.get_extra_info("peercert")) if transport else None
    if user is None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = credentials.user_of_token(token.strip())
    if user is None:
        return None
    return User(user.name, (*user.groups, "system:authenticated"))


def allowed(user: User, verb: str, group: str, plural: str) -> bool:
    if ADMINS in user.groups:
        return True
    if NODES in user.groups:
        return verb in _READ or (group, plural) in _NODE_WRITES
    return False


def authorize(user: User, verb: str, group: str, plural: str, name: str = "") -> None:
    """Raises `Forbidden`."""
    if not allowed(user, verb, group, plural):
        resource = f"{plural}.{group}" if group else plural
        about = f'{resource} "{name}"' if name else resource
        raise Forbidden(
            f'{about} is forbidden: User "{user.name}" cannot {verb} resource "{plural}"'
            f' in API group "{group}"'
        )
