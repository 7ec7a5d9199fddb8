"""What AuthorizationPolicies leave behind: a record of what AUDIT policies match, and a line in the proxy's
log for what policies refuse.

Istio's proxies mark an audited request and leave the rest to plugins that Envoy has not. Here a policy's
rules are evaluated without effect (RBAC's `shadow_rules`), so that the rule that matched stands in the
dynamic metadata of the request or connection. Envoy writes records to a file in its own directory, which
whoever keeps the log of audited requests takes away; nobody who reads it can hold up a request.
"""

from dataclasses import dataclass
from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.type.v3 import percent_pb2

from marline.api.security.recorded import ALL, Recorded

AUDIT_FILE: Final = "audit.jsonl"
"""In the proxy's directory, in which Envoy runs."""
_MATCHED: Final = "denied"
"""What RBAC says of rules that match, were they to deny."""
DECIDING_PREFIX: Final = "deciding_"
"""Of the rules that let connections pass, evaluated for their names only."""
_DECIDED_BY: Final = "enforced_effective_policy_id"
"""Where RBAC says which rule has let a request pass, or has refused it."""
_LET_PASS_BY: Final = f"{DECIDING_PREFIX}shadow_effective_policy_id"
"""The same for a connection; which rule has refused it, its termination details say."""
_CALLER: Final = {
    "time": "%START_TIME%",
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "port": "%DOWNSTREAM_LOCAL_PORT%",
}
_REQUEST: Final = {
    **_CALLER,
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY):1024%",
    "path": "%PATH(NQ):4096%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
}
"""Paths stand without their queries, which may have secrets."""
_CONNECTION: Final = {**_CALLER, "details": "%CONNECTION_TERMINATION_DETAILS%"}
_OUTCOME: Final = {
    "id": "%UNIQUE_ID%",
    "flags": "%RESPONSE_FLAGS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
}
_SHOWN: Final = 1024
"""Characters of a header or a parameter."""
_REFUSED: Final = "rbac_access_denied"


@dataclass(frozen=True, slots=True)
class Audit:
    """AUDIT policies of a workload that want the same to be known."""

    index: int
    """Among those of the workload."""
    destination: str
    """The workload's identity."""
    recorded: Recorded

    @property
    def prefix(self) -> str:
        """What the statistics and the metadata of what they match begin with."""
        return f"audit_{self.index}_" if self.index else "audit_"


def request_logs(filter_name: str, audits: tuple[Audit, ...]) -> tuple[Any, ...]:
    """The access loggers of a connection manager with policies."""
    refused = _line({"refused": "request", **_REQUEST})
    _only(refused, f'response.code_details.startsWith("{_REFUSED}")')
    records = (
        _record(filter_name, audit, _DECIDED_BY, {"kind": "request", **_REQUEST, **_chosen(audit.recorded)})
        for audit in audits
    )
    return (*records, refused)


def connection_logs(filter_name: str, audits: tuple[Audit, ...]) -> tuple[Any, ...]:
    """The access loggers of a TCP proxy with policies before it."""
    refused = _line({"refused": "connection", **_CONNECTION})
    _only(refused, f'connection.termination_details.startsWith("{_REFUSED}")')
    records = (
        _record(filter_name, audit, _LET_PASS_BY, {"kind": "connection", **_CONNECTION}) for audit in audits
    )
    return (*records, refused)


def _chosen(recorded: Recorded) -> dict[str, Any]:
    """Of what is redacted no character is taken (length 0): it is null where it was not there, else empty."""
    found = {
        "headers": {name: f"%REQ({name}):{_SHOWN}%" for name in recorded.headers},
        "redactedHeaders": {name: f"%REQ({name}):0%" for name in recorded.redacted_headers},
        "parameters": {name: f"%QUERY_PARAM({name}):{_SHOWN}%" for name in recorded.parameters},
        "redactedParameters": {name: f"%QUERY_PARAM({name}):0%" for name in recorded.redacted_parameters},
    }
    return {name: values for name, values in found.items() if values}


def _record(filter_name: str, audit: Audit, decider: str, fields: dict[str, Any]) -> Any:
    """A line in the file of audited requests, for those that a rule matches; or for some of them."""
    config = file_pb2.FileAccessLog(path=AUDIT_FILE)
    config.log_format.json_format.update(
        {
            **fields,
            **_OUTCOME,
            "destination": audit.destination,
            "rule": f"%DYNAMIC_METADATA({filter_name}:{audit.prefix}shadow_effective_policy_id)%",
            "decidedBy": f"%DYNAMIC_METADATA({filter_name}:{decider})%",
        }
    )
    made = accesslog_pb2.AccessLog(name="envoy.access_loggers.file")
    made.typed_config.Pack(config, deterministic=True)
    sampled = audit.recorded.per_million < ALL
    matches = made.filter.and_filter.filters.add() if sampled else made.filter
    matcher = matches.metadata_filter.matcher
    matcher.filter = filter_name
    matcher.path.add(key=f"{audit.prefix}shadow_engine_result")
    matcher.value.string_match.exact = _MATCHED
    matches.metadata_filter.match_if_key_not_found.value = False
    if sampled:
        share = made.filter.and_filter.filters.add().runtime_filter
        share.runtime_key = "marline.audit.sample"
        share.percent_sampled.numerator = audit.recorded.per_million
        share.percent_sampled.denominator = percent_pb2.FractionalPercent.MILLION
        # Else the request's ID decides, which its caller may choose.
        share.use_independent_randomness = True
    return made


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
