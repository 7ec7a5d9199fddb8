"""What every request passes first: who asks, how often, whether the path is for him, and the body in time."""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from marline.store import status
from marline.store.audit.records import Author, Draft, Target
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.builtin import OPEN_PATHS
from marline.store.embedded.access.policy import Policy
from marline.store.embedded.credentials import ApiCredentials, User
from marline.store.embedded.http import auth
from marline.store.embedded.http.connections import Connections
from marline.store.embedded.http.pace import Pace
from marline.store.embedded.http.resources import json_response
from marline.store.embedded.state import State
from marline.store.interface import Forbidden
from marline.store.tokens import ADMINS

_BODY_SECONDS: Final = 30.0
_RESOURCE_PATH: Final = re.compile(r"/api/[^/]+/.+|/apis/[^/]+/[^/]+/.+", re.DOTALL)
"""Who may do what below these is decided where it is known which resource is meant."""
_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_UNKNOWN: Final = ""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Gate:
    """One for a server."""

    credentials: ApiCredentials
    policy: Policy
    state: State
    connections: Connections
    open_paths: Collection[str]
    """Paths that need no credentials, beside those of `OPEN_PATHS`."""
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        limits = self.connections.limits
        self.pace = Pace(limits.requests_per_second, limits.request_burst)

    def middleware(self) -> Middleware:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await self._pass(request, handler)
            except Forbidden as error:
                if request.method in _WRITES:
                    await self._audit_refusal(request, error)
                raise

        return gate

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        user = auth.authenticate(request, self.credentials)
        if user is not None:
            request[auth.AUTHOR] = Author(user.name, user.groups)
        self.connections.asks(request.transport, user)
        if wait := self._wait(user, request.path):
            return _too_many(wait)
        if user is None and request.path not in (*OPEN_PATHS, *self.open_paths):
            return _unauthorized()
        if user is not None:
            known, user = user, auth.impersonated(request, user, self.policy)
            request[auth.USER] = user
            request[auth.AUTHOR] = Author(user.name, user.groups, "" if user is known else known.name)
            if not _RESOURCE_PATH.fullmatch(request.path):
                self.policy.authorize(user, Attributes(request.method.lower(), path=request.path))
        if request.method in _WRITES:
            async with asyncio.timeout(_BODY_SECONDS):
                await request.read()
        return await handler(request)

    async def _audit_refusal(self, request: web.Request, error: Forbidden) -> None:
        """What somebody wanted to change and may not is worth knowing, too."""
        author = request.get(auth.AUTHOR) or Author("")
        target = Target(path=request.path)
        draft = Draft(author, request.method.lower(), target, outcome="refused", message=str(error))
        await self.state.record(draft)

    def _wait(self, user: User | None, path: str) -> float:
        """Administrators are not held up, as kube-apiserver exempts `system:masters`; nor is who asks for its
        health."""
        if (user and ADMINS in user.groups) or path in OPEN_PATHS:
            return 0.0
        return self.pace.take(user.name if user else _UNKNOWN, asyncio.get_running_loop().time())


def _unauthorized() -> web.Response:
    response = json_response(status.failure(401, "Unauthorized", "Unauthorized"), 401)
    response.headers["WWW-Authenticate"] = 'Bearer realm="marline"'
    return response


def _too_many(wait: float) -> web.Response:
    """Kubernetes' clients wait as long as the header says, and try again."""
    message = "too many requests of this user, please try again later"
    response = json_response(status.failure(429, "TooManyRequests", message), 429)
    response.headers["Retry-After"] = str(math.ceil(wait))
    return response
