"""Valid resources of every kind, all fields filled that Marline acts on."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from marline.api.documents import read_documents
from marline.api.registry import KINDS, Kind, kind_of

FOLDER = Path(__file__).parent / "examples"


@cache
def _read() -> tuple[dict[str, Any], ...]:
    files = sorted(FOLDER.glob("*.yaml"))
    return tuple(item.obj for file in files for item in read_documents(file.read_text(), file.name))


def examples() -> list[dict[str, Any]]:
    return copy.deepcopy(list(_read()))


def examples_of(kind: Kind) -> list[dict[str, Any]]:
    return [obj for obj in examples() if kind_in(obj) is kind]


def kind_in(obj: dict[str, Any]) -> Kind:
    kind = kind_of(obj["apiVersion"].rpartition("/")[0], obj["kind"])
    assert kind is not None
    return kind


def acted_on() -> Iterator[Kind]:
    return (kind for kind in KINDS if not kind.not_acted_on)


def body_of(obj: dict[str, Any]) -> Any:
    """Where the model of the object's kind begins."""
    return obj["spec"] if kind_in(obj).in_spec else obj
