"""Who is asking (kubernetes.io, "Authenticating", "User impersonation"), and may they.

What they may is the matter of `access`. Here a request becomes a user, and what it asks for.
"""

from typing import Final

from aiohttp import web

from marline.store.audit.records import Author
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.builtin import AUTHENTICATED
from marline.store.embedded.access.policy import SERVICE_ACCOUNT, Policy, implied_groups
from marline.store.embedded.credentials import ApiCredentials, User, user_of_certificate
from marline.store.interface import Forbidden

USER: Final = web.RequestKey("user", User)
"""Where a request's user is: `request[USER]`."""
AUTHOR: Final = web.RequestKey("author", Author)
"""Who is answerable for what a request changes: `request[AUTHOR]`."""
_ANONYMOUS: Final = "system:anonymous"


def authenticate(request: web.Request, credentials: ApiCredentials) -> User | None:
    """The user of the client certificate (verified by TLS) or of the bearer token, if any is valid."""
    transport = request.transport
    user = user_of_certificate(transport.get_extra_info("peercert")) if transport else None
    if user is None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = credentials.user_of_token(token.strip())
    return None if user is None else _completed(user)


def _completed(user: User) -> User:
    """With the groups that a user is in by being known, and by the name."""
    groups = (*user.groups, *implied_groups(user.name), AUTHENTICATED)
    return User(user.name, tuple(dict.fromkeys(groups)))


def impersonated(request: web.Request, user: User, policy: Policy) -> User:
    """Whom a user acts as, by the request's headers: as a rule as himself. Raises `Forbidden`."""
    asked = [name for name in request.headers if name.lower().startswith("impersonate-")]
    if not asked:
        return user
    name = request.headers.get("Impersonate-User", "")
    for header in asked:
        if header.lower() not in ("impersonate-user", "impersonate-group"):
            raise Forbidden(f"{header} is not supported: impersonate by user and group alone")
    if not name:
        raise Forbidden("Impersonate-Group needs Impersonate-User")
    other = User(name, tuple(request.headers.getall("Impersonate-Group", [])))
    authorize_acting_as(user, other, policy)
    return other if name == _ANONYMOUS else _completed(other)


def authorize_acting_as(user: User, other: User, policy: Policy) -> None:
    """Who may act as somebody may also make credentials for somebody. Raises `Forbidden`."""
    if implied_groups(other.name):
        namespace, _, account = other.name.removeprefix(SERVICE_ACCOUNT).partition(":")
        asked = Attributes("impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    else:
        asked = Attributes("impersonate", resource="users", name=other.name)
    policy.authorize(user, asked)
    for group in other.groups:
        policy.authorize(user, Attributes("impersonate", resource="groups", name=group))
