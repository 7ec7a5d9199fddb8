"""What the API server answers besides Kubernetes' paths: certificates, proxies' states, tokens."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from marline.identity import endpoint
from marline.store import tokens
from marline.store.embedded.access.policy import Policy
from marline.store.embedded.credentials import ApiCredentials, User
from marline.store.embedded.http.auth import authorize_acting_as
from marline.store.embedded.http.bodies import read_object
from marline.store.embedded.server import USER, Extra
from marline.store.interface import BadRequest
from marline.store.status import failure
from marline.xds import status
from marline.xds.hub import Hub

Model = TypeVar("Model", bound=msgspec.Struct)


def endpoints(
    hub: Hub, signing: endpoint.SignEndpoint, credentials: ApiCredentials, policy: Policy
) -> tuple[Extra, ...]:
    """For `server.serve`, which lets a request through if the user's roles allow its method and path."""

    async def sign(request: web.Request) -> web.Response:
        try:
            answer = signing.handle(await read_object(request), request[USER].groups, time.time())
        except endpoint.SignRefused as error:
            return web.json_response(failure(error.code, error.reason, str(error)), status=error.code)
        return web.json_response(answer)

    async def proxies(request: web.Request) -> web.Response:
        await _settled(hub, request.query)
        return _json(hub.statuses(described=request.query.get(status.DESCRIBED) == "true"))

    async def make_token(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.TokenRequest)
        user = User(asked.user, asked.groups)
        authorize_acting_as(request[USER], user, policy)
        return _json(tokens.TokenAnswer(token=credentials.add_token(user)))

    async def revoke_tokens(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.TokenRequest)
        return _json(tokens.TokenAnswer(revoked=credentials.revoke_tokens(asked.user)))

    return (
        ("POST", endpoint.PATH, sign),
        ("GET", status.PATH, proxies),
        ("POST", tokens.PATH, make_token),
        ("DELETE", tokens.PATH, revoke_tokens),
    )


def _read(body: object, model: type[Model]) -> Model:
    try:
        return msgspec.convert(body, model)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


def _json(answer: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


async def _settled(hub: Hub, query: Mapping[str, str]) -> None:
    """Wait as the query asks for. Raises `BadRequest`."""
    try:
        version = int(query.get(status.SETTLED_AT, "0"))
        connected = int(query.get(status.CONNECTED, "0"))
        seconds = float(query.get(status.TIMEOUT_SECONDS, "10"))
    except ValueError as error:
        names = f"{status.SETTLED_AT}, {status.CONNECTED} and {status.TIMEOUT_SECONDS}"
        raise BadRequest(f"{names} are numbers") from error
    if version:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, status.MAX_TIMEOUT_SECONDS)):
                await hub.settled(version, connected)
