"""Tokens of end users. That a request shows one can be told, but not if it is valid, nor what it says."""

from dataclasses import replace
from typing import Any, Final

from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from marline.compile.request_authentication import DEFAULT_PLACES, FILTER
from marline.explain.request import CannotTell, Request, only

_STRIPPING: Final = header_mutation_pb2.HeaderMutation.DESCRIPTOR


def received(manager: Any, request: Request) -> Request:
    """A request without the headers that only verified tokens are to write, and whether it shows a token.
    Raises `CannotTell`."""
    taken: set[str] = set()
    for extension in manager.early_header_mutation_extensions:
        if not extension.typed_config.Is(_STRIPPING):
            raise CannotTell(f"the connection manager uses {extension.name}, which cannot be evaluated")
        changes = header_mutation_pb2.HeaderMutation()
        extension.typed_config.Unpack(changes)
        for change in changes.mutations:
            only(change, ("remove",), f"the connection manager's {extension.name}")
            taken.add(change.remove)
    headers = tuple((name, value) for name, value in request.headers if name not in taken)
    return replace(request, headers=headers, shows_token=_shows_token(manager, request))


def _shows_token(manager: Any, request: Request) -> bool:
    for item in manager.http_filters:
        if item.name == FILTER and item.typed_config.Is(config_pb2.JwtAuthentication.DESCRIPTOR):
            config = config_pb2.JwtAuthentication()
            item.typed_config.Unpack(config)
            return any(_is_shown(provider, request) for provider in config.providers.values())
    return False


def _is_shown(provider: Any, request: Request) -> bool:
    headers = [(item.name, item.value_prefix) for item in provider.from_headers]
    parameters, cookies = list(provider.from_params), list(provider.from_cookies)
    if not (headers or parameters or cookies):
        headers = [(name, "") for kind, name in DEFAULT_PLACES if kind == "header"]
        parameters = [name for kind, name in DEFAULT_PLACES if kind == "parameter"]
    sent = [pair.partition("=")[0].strip() for pair in (request.header("cookie") or "").split(";")]
    return (
        any(prefix in (request.header(name) or "") for name, prefix in headers if request.header(name))
        or any(request.query(name) is not None for name in parameters)
        or any(name in sent for name in cookies)
    )


def claim_fault(matcher: Any, request: Request) -> str:
    """Why a request does not fulfil a condition on a claim; "" if it does. Raises `CannotTell`."""
    if matcher.filter != FILTER:
        raise CannotTell(f"a route asks for metadata of {matcher.filter}, which cannot be evaluated")
    if request.shows_token:
        raise CannotTell("a route asks for what the request's token says, and tokens are not verified here")
    return "" if matcher.invert else f"there is no token, wanted one with the claim {claim_of(matcher)}"


def claim_of(matcher: Any) -> str:
    """The claim that a condition asks for, by name."""
    return ".".join(segment.key for segment in matcher.path[1:])
