"""The API server: HTTPS on the loopback, the Kubernetes protocol, and what wiring adds to it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from marline import __version__
from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.store import status, together
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.credentials import ApiCredentials
from marline.store.embedded.http import auth, bodies, definitions, discovery, openapi, reviews
from marline.store.embedded.http.connections import LIMITS, Connections, Limits
from marline.store.embedded.http.gate import Gate
from marline.store.embedded.http.resources import Resources, json_response
from marline.store.embedded.http.target import TARGET, accepted_form, flag, parse_target
from marline.store.embedded.http.together import apply_together
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import NotFound, Refused, StoreError

AUTHOR: Final = auth.AUTHOR
"""Where a handler finds who is answerable for what it changes."""
USER: Final = auth.USER
"""Where a handler finds the `User` who asks: `request[USER]`."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Extra = tuple[str, str, Handler]
"""Method, path and handler of an endpoint that is not Kubernetes'; `request[USER]` is who asks."""

KUBERNETES_VERSION: Final = ("1", "37")
"""The version whose protocol this is, for clients that adapt to it."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RunningServer:
    """A server that answers until it is closed."""

    port: int
    _listener: asyncio.Server
    _runner: web.AppRunner
    _open: set[asyncio.Task[Any]]

    async def close(self) -> None:
        """Stop listening and end all requests, watches among them."""
        self._listener.close()
        for task in list(self._open):
            task.cancel()
        await self._runner.cleanup()


async def serve(
    store: EmbeddedStore,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    credentials: ApiCredentials,
    extra: Sequence[Extra] = (),
    open_paths: Collection[str] = (),
    limits: Limits = LIMITS,
) -> RunningServer:
    """Serve a store. With port 0 a free one is taken; raises OSError if the port is not to be had.
    `open_paths`: those of `extra` that need no credentials."""
    running: set[asyncio.Task[Any]] = set()
    connections = Connections(limits)
    gate = Gate(credentials, store.policy, store.state, connections, open_paths)
    app = web.Application(
        client_max_size=bodies.LIMIT,
        middlewares=[_tracked(running), _errors, gate.middleware()],
    )
    for method, path, handler in extra:
        app.router.add_route(method, path, handler)
    _Root(store).add_to(app)
    # A watch whose client is gone must end at once: its handler is cancelled.
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0, keepalive_timeout=75.0,
        lingering_time=5.0, max_field_size=16384,
    )  # fmt: skip
    await runner.setup()
    http = runner.server
    assert http is not None  # noqa: S101 (tells the type checker: it is there after `setup`)
    try:
        listener = await asyncio.get_running_loop().create_server(
            lambda: connections.guarded(http()), host, port, backlog=256, ssl=credentials.server_context(),
            ssl_handshake_timeout=limits.handshake_seconds,
        )  # fmt: skip
    except OSError:
        await runner.cleanup()
        raise
    return RunningServer(int(listener.sockets[0].getsockname()[1]), listener, runner, running)


def _tracked(running: set[asyncio.Task[Any]]) -> Middleware:
    @web.middleware
    async def tracked(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
        try:
            return await handler(request)
        finally:
            if task is not None:
                running.discard(task)

    return tracked


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Everything that goes wrong is answered with a `Status`."""
    try:
        return await handler(request)
    except (StoreError, InvalidResource) as error:
        target = request.get(TARGET)
        body = status.to_status(error, target.ref if target else None)
    except web.HTTPRequestEntityTooLarge:
        body = status.failure(413, "RequestEntityTooLarge", f"the body is larger than {bodies.LIMIT} bytes")
    except web.HTTPMethodNotAllowed:
        body = status.failure(405, "MethodNotAllowed", "the server does not allow this method here")
    except web.HTTPNotFound:
        body = status.failure(404, "NotFound", "the server could not find the requested resource")
    except RecursionError:
        body = status.failure(400, "BadRequest", "the body of the request is nested too deeply")
    except TimeoutError:
        body = status.failure(408, "Timeout", "the body of the request did not arrive in time")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        _log.exception("%s %s failed", request.method, request.path)
        body = status.failure(500, "InternalError", f"{type(error).__name__}; the server's log says more")
    return json_response(body, body["code"])


class _Root:
    """The paths of the Kubernetes API."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._resources = Resources(store)

    def add_to(self, app: web.Application) -> None:
        for path in ("/healthz", "/livez", "/readyz"):
            app.router.add_get(path, self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/api", self._api)
        app.router.add_get("/apis", self._apis)
        app.router.add_get("/openapi/v2", self._openapi_v2)
        app.router.add_get("/openapi/v3", self._openapi_root)
        app.router.add_get("/openapi/v3/{path:.+}", self._openapi)
        app.router.add_get("/apis/{group}", self._group)
        app.router.add_post(together.PATH, self._apply_together)
        app.router.add_route("*", "/api/{version}", self._version_list)
        app.router.add_route("*", "/apis/{group}/{version}", self._version_list)
        app.router.add_route("*", "/api/{version}/{rest:.+}", self._resource)
        app.router.add_route("*", "/apis/{group}/{version}/{rest:.+}", self._resource)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _version(self, request: web.Request) -> web.Response:
        major, minor = KUBERNETES_VERSION
        return json_response(
            {
                "major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0+marline-{__version__}",
                "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "", "compiler": "", "platform": "linux",
            }
        )  # fmt: skip

    async def _api(self, request: web.Request) -> web.Response:
        if discovery.wants_aggregated(request.headers.get("Accept", "")):
            return _aggregated(discovery.aggregated(core=True))
        return json_response(discovery.api_versions(request.host))

    async def _apis(self, request: web.Request) -> web.Response:
        if discovery.wants_aggregated(request.headers.get("Accept", "")):
            return _aggregated(discovery.aggregated(core=False))
        return json_response(discovery.group_list())

    async def _group(self, request: web.Request) -> web.Response:
        found = discovery.group(request.match_info["group"])
        if found is None:
            raise web.HTTPNotFound
        return json_response(found)

    async def _version_list(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        if version not in discovery.groups().get(group, ()):
            raise web.HTTPNotFound
        return json_response(discovery.resource_list(group, version))

    async def _openapi_v2(self, request: web.Request) -> web.Response:
        if "protobuf" in request.headers.get("Accept", ""):
            return web.Response(body=openapi.V2_PROTOBUF, content_type=openapi.V2_PROTOBUF_MEDIA)
        return json_response(openapi.V2)

    async def _openapi_root(self, request: web.Request) -> web.Response:
        return json_response(openapi.root())

    async def _openapi(self, request: web.Request) -> web.Response:
        document = openapi.document(request.match_info["path"])
        if document is None:
            raise web.HTTPNotFound
        response = web.Response(body=document.body, content_type="application/json")
        response.etag = document.digest
        response.headers["Cache-Control"] = "public, immutable"
        return response

    async def _apply_together(self, request: web.Request) -> web.Response:
        return await apply_together(request, self._store)

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        steps = request.match_info["rest"].split("/")
        found = reviews.find(group, version, steps) if request.method == "POST" else None
        if found is not None:
            return await self._review(request, *found)
        if (group, version, steps[0]) == (definitions.GROUP, definitions.VERSION, definitions.PLURAL):
            return self._definitions(request, steps[1:])
        target = parse_target(group, version, steps)
        if target is None:
            raise web.HTTPNotFound
        request[TARGET] = target
        with contextlib.suppress(ConnectionResetError):
            return await self._resources.handle(request, target)
        return web.Response(status=499)

    async def _review(self, request: web.Request, review: reviews.Review, namespace: str) -> web.Response:
        user, policy = request[auth.USER], self._store.policy
        policy.authorize(user, Attributes("create", review.group, review.plural, namespace=namespace))
        obj = await bodies.read_object(request)
        return json_response(reviews.answer(review, obj, namespace, user, policy), 201)

    def _definitions(self, request: web.Request, steps: list[str]) -> web.Response:
        """CustomResourceDefinitions: all, or one. Raises `StoreError`."""
        verb, name = "get" if steps else "list", "/".join(steps)
        asked = Attributes(verb, definitions.GROUP, definitions.PLURAL, name=name)
        self._store.policy.authorize(request[auth.USER], asked)
        return _definitions(request, steps)


def _definitions(request: web.Request, steps: list[str]) -> web.Response:
    if request.method != "GET":
        raise Refused("which kinds are served comes with Marline", "MethodNotAllowed", 405)
    if flag(request.query, "watch"):
        raise Refused("definitions never change: there is nothing to watch", "MethodNotAllowed", 405)
    if steps:
        name = "/".join(steps)
        if name not in definitions.definitions():
            raise NotFound(Ref(definitions.GROUP, definitions.KIND, "", name))
        found = definitions.definitions()[name]
        items = [found]
    else:
        found = definitions.listing()
        items = found["items"]
    as_table = accepted_form(request.headers.get("Accept", "")) == "table"
    return json_response(definitions.table(items) if as_table else found)


def _aggregated(body: dict[str, Any]) -> web.Response:
    response = json_response(body)
    response.headers["Content-Type"] = discovery.AGGREGATED
    return response
