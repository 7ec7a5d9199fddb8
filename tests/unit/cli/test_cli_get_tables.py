"""The server's tables, as `marline get` prints them."""

from typing import Any

from marline.api.registry import Kind
from marline.cli.get import render, without_managed_fields
from marline.cli.kinds import choose_kind

COLUMNS = [
    {"name": "Name", "format": "name", "priority": 0},
    {"name": "Mode", "priority": 0},
    {"name": "Selector", "priority": 1},
]
KIND: Kind = choose_kind("pa")


def table(*names: str) -> dict[str, Any]:
    rows = [
        {"cells": [name, None, "app=a"], "object": {"metadata": {"name": name, "namespace": "shop"}}}
        for name in names
    ]
    return {"columnDefinitions": COLUMNS, "rows": rows}


def shown(*tables: dict[str, Any], wide: bool = False, namespaces: bool = False, kinds: bool = False) -> str:
    return render(KIND, tables, wide=wide, namespaces=namespaces, kinds=kinds)


def test_columns_of_priority_1_are_wide() -> None:
    assert shown(table("a")) == "NAME   MODE\na"
    assert shown(table("a"), wide=True) == "NAME   MODE   SELECTOR\na             app=a"


def test_several_names_are_one_table() -> None:
    assert shown(table("a"), table("b")).splitlines() == ["NAME   MODE", "a", "b"]


def test_namespaces_stand_first_when_all_are_shown() -> None:
    assert shown(table("a"), namespaces=True).splitlines() == ["NAMESPACE   NAME   MODE", "shop        a"]


def test_kinds_stand_before_names_when_several_are_shown() -> None:
    assert "peerauthentication.security.istio.io/a" in shown(table("a"), kinds=True)


def test_who_set_which_field_is_left_out() -> None:
    obj = {"metadata": {"name": "a", "managedFields": [{}]}, "spec": {}}
    assert without_managed_fields(obj) == {"metadata": {"name": "a"}, "spec": {}}
    assert "managedFields" in obj["metadata"]
