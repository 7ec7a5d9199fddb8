"""What AuthorizationPolicies leave behind: lines in the proxy's log for what AUDIT policies match, and for
what policies refuse.

Istio's proxies mark an audited request and leave the rest to plugins that Envoy has not. Here a policy's
rules are evaluated without effect (RBAC's `shadow_rules`), so that the rule that matched stands in the
dynamic metadata of the request or connection: under the filter's name, in `AUDITED_RULE`. Whatever else is to
learn of it reads it there.
"""

from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2

AUDIT_PREFIX: Final = "audit_"
"""What the statistics and the metadata of audited requests begin with."""
AUDITED_RULE: Final = f"{AUDIT_PREFIX}shadow_effective_policy_id"
"""The first rule, by name, that matches a request or a connection."""
AUDITED_RESULT: Final = f"{AUDIT_PREFIX}shadow_engine_result"
MATCHED: Final = "denied"
"""The value of `AUDITED_RESULT` where a rule matches."""
_CALLER: Final = {
    "time": "%START_TIME%",
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "port": "%DOWNSTREAM_LOCAL_PORT%",
}
_REQUEST: Final = {
    **_CALLER,
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
}
"""Paths stand without their queries, which may have secrets."""
_CONNECTION: Final = {**_CALLER, "details": "%CONNECTION_TERMINATION_DETAILS%"}
_REFUSED: Final = "rbac_access_denied"


def request_logs(filter_name: str, *, audits: bool) -> tuple[Any, ...]:
    """The access loggers of a connection manager with policies."""
    refused = _line({"refused": "request", **_REQUEST})
    _only(refused, f'response.code_details.startsWith("{_REFUSED}")')
    return (*_audit(filter_name, "request", _REQUEST, audits=audits), refused)


def connection_logs(filter_name: str, *, audits: bool) -> tuple[Any, ...]:
    """The access loggers of a TCP proxy with policies before it."""
    refused = _line({"refused": "connection", **_CONNECTION})
    _only(refused, f'connection.termination_details.startsWith("{_REFUSED}")')
    return (*_audit(filter_name, "connection", _CONNECTION, audits=audits), refused)


def _audit(filter_name: str, what: str, fields: dict[str, str], *, audits: bool) -> tuple[Any, ...]:
    if not audits:
        return ()
    rule = f"%DYNAMIC_METADATA({filter_name}:{AUDITED_RULE})%"
    made = _line({"audited": what, "rule": rule, **fields})
    matcher = made.filter.metadata_filter.matcher
    matcher.filter = filter_name
    matcher.path.add(key=AUDITED_RESULT)
    matcher.value.string_match.exact = MATCHED
    made.filter.metadata_filter.match_if_key_not_found.value = False
    return (made,)


def _line(fields: dict[str, str]) -> Any:
    """A line of JSON on Envoy's standard output."""
    config = stream_pb2.StdoutAccessLog()
    config.log_format.json_format.update(fields)
    made = accesslog_pb2.AccessLog(name="envoy.access_loggers.stdout")
    made.typed_config.Pack(config, deterministic=True)
    return made


def _only(made: Any, expression: str) -> None:
    made.filter.extension_filter.name = "envoy.access_loggers.extension_filters.cel"
    made.filter.extension_filter.typed_config.Pack(cel_pb2.ExpressionFilter(expression=expression))
