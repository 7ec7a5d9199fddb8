"""How `marline describe` writes what it knows: sections of plain text. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from marline.cli.mesh_facts import ServiceFacts, WorkloadFacts
from marline.cli.output import bad, doubtful, good, grid, to_yaml
from marline.store.managed_fields import LAST_APPLIED
from marline.store.spans import human_duration

Object = Mapping[str, Any]

_ENVELOPE: Final = ("apiVersion", "kind", "metadata", "status")
_INDENT: Final = "  "


def describe_object(obj: Object, now: datetime) -> str:
    """What stands in a resource itself."""
    metadata = obj["metadata"]
    lines = [
        ("Name:", str(metadata["name"])),
        ("Namespace:", str(metadata.get("namespace", ""))),
        ("Kind:", f"{obj['kind']} ({obj['apiVersion']})"),
        ("Labels:", _pairs(metadata.get("labels", {}))),
        ("Annotations:", _pairs(_annotations(metadata))),
        ("Created:", _time(str(metadata.get("creationTimestamp", "")), now)),
        ("Generation:", str(metadata.get("generation", ""))),
        ("Deleted:", _time(str(metadata.get("deletionTimestamp", "")), now)),
    ]
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", [])
    return _joined(
        grid([line for line in lines if line[1]]),
        _yaml_section("Spec", _body(obj)),
        _yaml_section("Status", status),
        _section("Conditions", _conditions(conditions, now)),
    )


def _body(obj: Object) -> Any:
    """The spec, or the whole body of kinds without one. What is in a Secret stays there."""
    if "spec" in obj:
        return obj["spec"]
    body = {name: value for name, value in obj.items() if name not in _ENVELOPE}
    if obj["kind"] == "Secret" and "data" in body:
        body["data"] = {name: f"({len(str(value))} characters)" for name, value in body["data"].items()}
    return body


def _conditions(conditions: Iterable[Object], now: datetime) -> str:
    rows = [
        (
            str(item.get("type", "")),
            (good if item.get("status") == "True" else doubtful)(str(item.get("status", ""))),
            str(item.get("reason", "")),
            _age(str(item.get("lastTransitionTime", "")), now),
            str(item.get("message", "")),
        )
        for item in conditions
    ]
    return grid([("TYPE", "STATUS", "REASON", "FOR", "MESSAGE"), *rows], indent=_INDENT) if rows else ""


def describe_events(events: Iterable[Object], now: datetime) -> str:
    """Events about a resource, the newest last."""
    rows = [
        (
            _age(_seen(item), now),
            (good if item.get("type") == "Normal" else bad)(str(item.get("type", ""))),
            str(item.get("reason", "")),
            str(item.get("message", "")),
        )
        for item in sorted(events, key=_seen)
    ]
    table = grid([("LAST SEEN", "TYPE", "REASON", "MESSAGE"), *rows], indent=_INDENT) if rows else ""
    return _section("Events", table)


def _seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def describe_service(facts: ServiceFacts) -> str:
    """What the mesh makes of a service."""
    lines = [
        ("Hostname:", facts.hostname),
        ("Addresses:", ", ".join(facts.addresses) or "none"),
        ("Ports:", ", ".join(facts.ports) or "none"),
        ("Rules:", ", ".join(facts.rules) or "none"),
    ]
    rows = [
        (
            item.port,
            item.address,
            item.workload or "-",
            good("ready") if item.ready else doubtful("not ready"),
            "mTLS" if item.mtls else "plain text",
            item.identity or "-",
        )
        for item in facts.endpoints
    ]
    titles = ("PORT", "ENDPOINT", "WORKLOAD", "STATE", "BY", "IDENTITY")
    table = grid([titles, *rows], indent=_INDENT) if rows else f"{_INDENT}no endpoints"
    return _section("In the mesh", f"{grid(lines, indent=_INDENT)}\n\n{table}")


def describe_workload(facts: WorkloadFacts) -> str:
    """What the mesh makes of a workload."""
    lines = [
        ("Identity:", facts.identity),
        ("Services:", ", ".join(facts.services) or "none"),
        ("Accepts:", f"mTLS {facts.mtls}"),
        ("Policies:", ", ".join(facts.policies) or "none, so this is the default"),
    ]
    return _section("In the mesh", grid(lines, indent=_INDENT))


def sections(parts: Sequence[str]) -> str:
    """Parts that are not empty, a line apart."""
    return _joined(*parts)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _section(title: str, text: str) -> str:
    return f"{title}:\n{text}" if text else ""


def _yaml_section(title: str, value: Any) -> str:
    if not value:
        return ""
    return _section(title, "\n".join(f"{_INDENT}{line}" for line in to_yaml(value).splitlines()))


def _annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Without what `kubectl apply` repeats there: as with `kubectl describe`, and a Secret's values too."""
    return {name: value for name, value in metadata.get("annotations", {}).items() if name != LAST_APPLIED}


def _pairs(mapping: Object) -> str:
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def _time(text: str, now: datetime) -> str:
    return f"{text} ({_age(text, now)} ago)" if text else ""


def _age(text: str, now: datetime) -> str:
    return human_duration((now - datetime.fromisoformat(text)).total_seconds()) if text else "-"
