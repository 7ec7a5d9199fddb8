"""Events as `events.k8s.io/v1` names their fields; stored as core/v1 (kubernetes.io API reference)."""

from collections.abc import Mapping
from typing import Any, Final

GROUP: Final = "events.k8s.io"

_NAMES: Final = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK: Final = {core: name for name, core in _NAMES.items()}


def show(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {_BACK.get(key, key): value for key, value in obj.items()}


def read(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The core names of fields stay unknown here, so they are refused as any other."""
    return {
        _NAMES.get(key, f"events.k8s.io/{key}" if key in _BACK else key): value for key, value in obj.items()
    }


def field_selector(text: str) -> str:
    terms = []
    for term in filter(None, text.split(",")):
        head, dot, rest = term.partition(".")
        terms.append(f"{_NAMES.get(head, head)}{dot}{rest}" if dot else _NAMES.get(head, head))
    return ",".join(terms).replace("reportingController", "reportingComponent")
