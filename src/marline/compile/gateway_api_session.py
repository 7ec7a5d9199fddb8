"""Session persistence of a rule: later requests of a client reach the endpoint that its first one reached.

Behaviour: gateway-api.sigs.k8s.io, `SessionPersistence` (GEP-1619); Envoy documentation, "Stateful
session": the cookie or header holds the endpoint's address, so nothing is kept in the proxy. A session
whose endpoint is gone goes elsewhere and starts anew.
"""

import re
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2
from envoy.extensions.http.stateful_session.header.v3 import header_pb2

from marline.api.gateway_api.shared import SessionPersistence
from marline.compile.routes_match import regex
from marline.compile.routes_targets import duration

SESSION_FILTER: Final = "envoy.filters.http.stateful_session"
_BACKEND_SUFFIX: Final = "-backend"
_PATH: Final = "/"


def set_session(made: Any, session: SessionPersistence | None, default_name: str) -> None:
    """Turn sessions on for an Envoy route, if its rule has them."""
    if session is None or not made.HasField("route"):
        return
    name = session.session_name or default_name
    per_route = stateful_session_pb2.StatefulSessionPerRoute()
    state = per_route.stateful_session.session_state
    if session.type == "Header":
        state.name = "envoy.http.stateful_session.header"
        state.typed_config.Pack(header_pb2.HeaderBasedSessionState(name=name))
    else:
        cookie = cookie_pb2.CookieBasedSessionState()
        cookie.cookie.name, cookie.cookie.path = name, _PATH
        if session.absolute_timeout is not None:
            cookie.cookie.ttl.CopyFrom(duration(session.absolute_timeout))
        state.name = "envoy.http.stateful_session.cookie"
        state.typed_config.Pack(cookie)
    made.typed_per_filter_config[SESSION_FILTER].Pack(per_route)


def keep_backend(made: Any, session: SessionPersistence, name: str, backend: str) -> None:
    """Let a route's response say which backend of several was chosen. Envoy chooses among backends before it
    looks at the session, so this is a second cookie."""
    lasting = f"; Max-Age={int(session.absolute_timeout)}" if session.absolute_timeout is not None else ""
    option = made.response_headers_to_add.add(
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD
    )
    option.header.key = "set-cookie"
    option.header.value = f"{_backend_cookie(session, name)}={backend}; Path={_PATH}; HttpOnly{lasting}"


def match_backend(match: Any, session: SessionPersistence, name: str, backend: str) -> None:
    """Let a route be for requests whose session is at a backend."""
    cookie = re.escape(f"{_backend_cookie(session, name)}={backend}")
    match.headers.add(name="cookie").string_match.safe_regex.CopyFrom(regex(f"(.*; *)?{cookie}(;.*)?"))


def _backend_cookie(session: SessionPersistence, name: str) -> str:
    return (session.session_name or name) + _BACKEND_SUFFIX
