"""Who is asking, and may they (kubernetes.io, "Authenticating", "Authorization").

`system:masters` may do all, and act as others. A node's agent may read all, and write what it registers:
workloads, services, events. Everybody else is known and may do nothing but ask who they are and what
they may.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from aiohttp import web

from marline.store.embedded.credentials import ApiCredentials, User, user_of_certificate
from marline.store.interface import Forbidden
from marline.store.tokens import ADMINS, NODES

USER: Final = web.RequestKey("user", User)
"""Where a request's user is: `request[USER]`."""

OPEN: Final = ("/healthz", "/livez", "/readyz", "/version")
"""Paths that need no credentials: they say nothing about the mesh."""

AUTHENTICATED: Final = "system:authenticated"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the members of a group may do; `*` stands for all, as in RBAC."""

    verbs: tuple[str, ...]
    group: str = "*"
    resources: tuple[str, ...] = ("*",)

    def allows(self, verb: str, group: str, plural: str) -> bool:
        return _among(verb, self.verbs) and _among(group, (self.group,)) and _among(plural, self.resources)


_RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    ADMINS: (Rule(("*",)),),
    NODES: (
        Rule(("get", "list", "watch")),
        Rule(("*",), "networking.istio.io", ("workloadentries",)),
        Rule(("*",), "", ("services", "events")),
        Rule(("*",), "events.k8s.io", ("events",)),
    ),
    AUTHENTICATED: (
        Rule(("create",), "authentication.k8s.io", ("selfsubjectreviews",)),
        Rule(("create",), "authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    ),
}
DISCOVERY: Final = ("/api", "/api/*", "/apis", "/apis/*", "/openapi/*", *OPEN)
"""Paths that say what is served, for every user: those of Kubernetes' `system:discovery` role."""


def _among(value: str, allowed: tuple[str, ...]) -> bool:
    return "*" in allowed or value in allowed


def authenticate(request: web.Request, credentials: ApiCredentials) -> User | None:
    """The user of the client certificate (verified by TLS) or of the bearer token, if any is valid; raises
    `Forbidden` if that user may not act as the one whom the headers name."""
    transport = request.transport
    user = user_of_certificate(transport.get_extra_info("peercert")) if transport else None
    if user is None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user = credentials.user_of_token(token.strip())
    if user is None:
        return None
    user = _impersonated(request, user)
    return User(user.name, (*user.groups, AUTHENTICATED))


def _impersonated(request: web.Request, user: User) -> User:
    """kubernetes.io, "User impersonation": `kubectl --as`."""
    asked = [name for name in request.headers if name.lower().startswith("impersonate-")]
    if not asked:
        return user
    name = request.headers.get("Impersonate-User", "")
    if ADMINS not in user.groups:
        raise Forbidden(f'User "{user.name}" cannot impersonate user "{name}"')
    for header in asked:
        if header.lower() not in ("impersonate-user", "impersonate-group"):
            raise Forbidden(f"{header} is not supported: impersonate by user and group alone")
    if not name:
        raise Forbidden("Impersonate-Group needs Impersonate-User")
    return User(name, tuple(request.headers.getall("Impersonate-Group", [])))


def rules_of(user: User) -> list[Rule]:
    """All that a user may do with resources."""
    return [rule for group in user.groups for rule in _RULES.get(group, ())]


def allowed(user: User, verb: str, group: str, plural: str) -> bool:
    return any(rule.allows(verb, group, plural) for rule in rules_of(user))


def paths_of(user: User) -> tuple[str, ...]:
    """The patterns of the paths, other than those of resources, that a user may get."""
    return ("*",) if ADMINS in user.groups else DISCOVERY


def allowed_path(user: User, verb: str, path: str) -> bool:
    if ADMINS in user.groups:
        return True
    return verb == "get" and any(fnmatchcase(path, pattern) for pattern in paths_of(user))


def authorize(user: User, verb: str, group: str, plural: str, name: str = "") -> None:
    """Raises `Forbidden`."""
    if not allowed(user, verb, group, plural):
        resource = f"{plural}.{group}" if group else plural
        about = f'{resource} "{name}"' if name else resource
        raise Forbidden(
            f'{about} is forbidden: User "{user.name}" cannot {verb} resource "{plural}"'
            f' in API group "{group}"'
        )
