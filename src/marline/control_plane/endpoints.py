"""What the API server answers besides Kubernetes' paths: certificates, tokens, joining, proxies' states."""

import asyncio
import contextlib
import datetime
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from marline.controllers.authority import AuthorityLoop, NotOurs
from marline.identity import ca_status, endpoint, following, trust_endpoint
from marline.identity.errors import InvalidAuthority
from marline.identity.spiffe import SpiffeId
from marline.store import tokens
from marline.store.audit.anchors import CHANGES, REQUESTS, REQUESTS_PATH, Anchors
from marline.store.audit.anchors import PATH as AUDIT_HEAD
from marline.store.audit.records import Author, Draft, Target
from marline.store.embedded.access.nodes import Registrations, authorize_signing
from marline.store.embedded.credentials import ApiCredentials, User
from marline.store.embedded.http.auth import authorize_acting_as
from marline.store.embedded.http.bodies import read_object
from marline.store.embedded.http.pace import Pace
from marline.store.embedded.join_tokens import JoinTokens
from marline.store.embedded.server import AUTHOR, USER, Extra
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import BadRequest, Forbidden, Refused
from marline.store.status import failure
from marline.xds import status
from marline.xds.hub import Hub

MIN_LIFE_SECONDS: Final = 60.0
MAX_LIFE_SECONDS: Final = 366 * 86400.0
"""Of tokens that end, and of users' certificates."""
_SIGNATURES_PER_SECOND: Final = 10.0
_SIGNATURE_BURST: Final = 200.0
"""Of one node or user, each a signature of the authority: a node that starts has a burst of them."""
_NAME_LENGTH: Final = 64
"""As X.509 limits names (RFC 5280, ub-common-name)."""
_NODE_LIFE: Final = datetime.timedelta(days=90)

Model = TypeVar("Model", bound=msgspec.Struct)


def endpoints(
    hub: Hub,
    authority: AuthorityLoop,
    trust: trust_endpoint.TrustEndpoint,
    credentials: ApiCredentials,
    store: EmbeddedStore,
    joining: JoinTokens,
) -> tuple[Extra, ...]:
    """For `server.serve`, which lets a request through if the user's roles allow its method and path."""
    policy, registrations = store.policy, Registrations(store.state)
    signatures, minted = (Pace(_SIGNATURES_PER_SECOND, _SIGNATURE_BURST) for _ in range(2))

    def permit(user: User, identity: SpiffeId) -> None:
        if str(identity) in hub.snapshot.mesh_peers.revoked:
            raise Forbidden(f"the identity {identity} is revoked; `marline ca reinstate` takes that back")
        authorize_signing(user, identity.namespace, identity.service_account, policy, registrations)

    def paced(user: User, pace: Pace, what: str) -> None:
        if tokens.ADMINS not in user.groups and pace.take(user.name, time.monotonic()):
            raise Refused(f"too many {what} are asked for, please try again later", "TooManyRequests", 429)

    async def audit(request: web.Request, verb: str, target: Target) -> None:
        author = request.get(AUTHOR) or Author("system:anonymous")
        await store.state.record(Draft(author, verb, target))

    async def sign(request: web.Request) -> web.Response:
        paced(request[USER], signatures, "certificates")
        body, allowed = await read_object(request), partial(permit, request[USER])
        answer = _vouched(lambda now: trust.certificates.handle(body, allowed, now))
        if answer.status == HTTPStatus.OK:
            await audit(request, "sign", Target(kind="SpiffeId", name=str(body["spiffeId"])))
        return answer

    async def mint(request: web.Request) -> web.Response:
        paced(request[USER], minted, "tokens of workloads")
        body, allowed = await read_object(request), partial(permit, request[USER])
        return _vouched(lambda now: trust.mint(body, allowed, now))

    async def bundles(_: web.Request) -> web.Response:
        return _vouched(trust.bundles)

    async def follow(request: web.Request) -> web.Response:
        said = _read(await read_object(request), following.Following)
        return _json(await authority.follow(request[USER].name, said))

    async def ca(request: web.Request) -> web.Response:
        if request.method == "POST":
            asked = _read(await read_object(request), ca_status.CaRequest)
            await audit(request, f"{asked.action} the authority", Target(path=request.path))
            try:
                authority.rotate() if asked.action == "rotate" else authority.reload()
            except (NotOurs, InvalidAuthority) as error:
                raise BadRequest(str(error)) from error
        return _json(authority.status())

    async def metrics(_: web.Request) -> web.Response:
        text = ca_status.metrics(authority.status(), time.time())
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def proxies(request: web.Request) -> web.Response:
        await _settled(hub, request.query)
        return _json(hub.statuses(described=request.query.get(status.DESCRIBED) == "true"))

    async def make_token(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.TokenRequest)
        user = _user(asked.user, asked.groups)
        authorize_acting_as(request[USER], user, policy)
        await audit(request, "create token", _about(user))
        expires = time.time() + _seconds(asked.ttl_seconds) if asked.ttl_seconds else None
        return _json(tokens.TokenAnswer(token=credentials.add_token(user, expires)))

    async def revoke_tokens(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.TokenRequest)
        await audit(request, "revoke tokens", Target(kind="User", name=asked.user))
        return _json(tokens.TokenAnswer(revoked=credentials.revoke_tokens(asked.user)))

    async def make_certificate(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.CertificateRequest)
        user = _user(asked.user, asked.groups)
        authorize_acting_as(request[USER], user, policy)
        await audit(request, "create certificate", _about(user))
        life = datetime.timedelta(seconds=_seconds(asked.ttl_seconds))
        return _json(tokens.CertificateAnswer(credentials.sign(asked.csr, user, life).decode()))

    async def make_join_token(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.JoinTokenRequest)
        authorize_acting_as(request[USER], _node(asked.node), policy)
        await audit(request, "create join token", _about(_node(asked.node)))
        return _json(tokens.TokenAnswer(token=joining.create(asked.node, asked.ttl_seconds, time.time())))

    async def join(request: web.Request) -> web.Response:
        asked = _read(await read_object(request), tokens.JoinRequest)
        user = _node(asked.node)
        joining.redeem(asked.token, asked.node, time.time())
        await audit(request, "join", _about(user))
        return _json(tokens.CertificateAnswer(credentials.sign(asked.csr, user, _NODE_LIFE).decode()))

    async def audit_head(log: str, _: web.Request) -> web.Response:
        head, floor = await store.state.audit_anchors(log)
        return _json(Anchors(str(head), floor))

    return (
        ("POST", following.PATH, follow),
        ("GET", ca_status.PATH, ca),
        ("GET", ca_status.METRICS_PATH, metrics),
        ("POST", ca_status.PATH, ca),
        ("GET", AUDIT_HEAD, partial(audit_head, CHANGES)),
        ("GET", REQUESTS_PATH, partial(audit_head, REQUESTS)),
        ("POST", tokens.CERTIFICATES, make_certificate),
        ("POST", tokens.JOIN_TOKENS, make_join_token),
        ("POST", tokens.JOIN, join),
        ("POST", endpoint.PATH, sign),
        ("POST", trust_endpoint.JWT_PATH, mint),
        ("GET", trust_endpoint.BUNDLES_PATH, bundles),
        ("GET", status.PATH, proxies),
        ("POST", tokens.PATH, make_token),
        ("DELETE", tokens.PATH, revoke_tokens),
    )


def _user(name: str, groups: tuple[str, ...]) -> User:
    """Raises `BadRequest` for what a certificate cannot hold."""
    for value in (name, *groups):
        if not 1 <= len(value) <= _NAME_LENGTH or not value.isprintable():
            raise BadRequest(f"{value!r} is not the name of a user or a group: 1 to {_NAME_LENGTH} letters")
    return User(name, groups)


def _node(name: str) -> User:
    """Raises `BadRequest`."""
    if not tokens.is_node_name(name):
        raise BadRequest(
            f"{name!r} is not a node's name: lower-case letters, digits, '-' and '.', at most 52"
        )
    return User(f"{tokens.NODE_USER}{name}", (tokens.NODES,))


def _about(user: User) -> Target:
    return Target(kind="User", name=user.name + "".join(f" ({group})" for group in user.groups))


def _seconds(asked: float) -> float:
    """Raises `BadRequest`."""
    if not MIN_LIFE_SECONDS <= asked <= MAX_LIFE_SECONDS:
        raise BadRequest(f"ttlSeconds is {asked:g}; expected {MIN_LIFE_SECONDS:g} to {MAX_LIFE_SECONDS:g}")
    return asked


def _vouched(answer: Callable[[float], dict[str, Any]]) -> web.Response:
    """What the authority answers at this time, or refuses."""
    try:
        return web.json_response(answer(time.time()))
    except endpoint.SignRefused as error:
        return web.json_response(failure(error.code, error.reason, str(error)), status=error.code)


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
