"""Resources that are wrong in hundreds of ways: each is refused with an error that names the field."""

import json
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from api_examples import acted_on, body_of, examples_of
from api_mutations import Wrong, fields_of, plain, refused_resources, wrong_resources

from marline.api.decode import admit
from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.refusals import Refusals
from marline.api.registry import KINDS, Kind
from marline.api.shape import field_types


def errors_of(wrong: Wrong) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidResource) as caught:
        admit(wrong.obj)
    return caught.value.errors


def names(error: FieldError, path: str) -> bool:
    """Is an error about a field, or something in it?"""
    return error.path == path or error.path.startswith((f"{path}.", f"{path}["))


def test_500_resources_that_are_wrong_in_different_ways_are_refused_by_field() -> None:
    made = list(wrong_resources())
    assert len({json.dumps(wrong.obj, sort_keys=True) for wrong in made}) >= 500
    for wrong in made:
        assert any(names(error, wrong.path) for error in errors_of(wrong)), wrong


@pytest.mark.parametrize("kind", [kind for kind in acted_on() if kind.refused], ids=lambda kind: kind.kind)
def test_every_refused_field_is_one_of_the_model_and_is_refused(kind: Kind) -> None:
    for wrong in refused_resources(kind):
        found = [error for error in errors_of(wrong) if error.fault is Fault.NOT_SUPPORTED]
        assert any(error.path == wrong.path for error in found), wrong


def test_misspelt_fields_are_told_what_was_meant() -> None:
    for wrong in wrong_resources():
        if wrong.how == "a misspelt field":
            error = next(error for error in errors_of(wrong) if error.path == wrong.path)
            assert error.fault is Fault.UNKNOWN
            assert error.suggestion, wrong


@pytest.mark.parametrize("kind", list(acted_on()), ids=lambda kind: f"{kind.group}/{kind.kind}")
def test_examples_are_admitted(kind: Kind) -> None:
    found = examples_of(kind)
    assert found
    for obj in found:
        assert admit(obj).kind == kind.kind


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.not_acted_on], ids=lambda kind: kind.kind)
def test_kinds_that_are_not_acted_on_are_refused_as_such_and_nothing_else(kind: Kind) -> None:
    (obj,) = examples_of(kind)
    (error,) = errors_of(Wrong(obj, "kind", "not acted on"))
    assert (error.path, error.fault) == ("kind", Fault.NOT_SUPPORTED)


def test_examples_have_every_field_that_is_not_refused() -> None:
    """So the mutations reach all of them, and what is accepted is seen to be accepted."""
    have = {
        (field.model, field.keys[-1])
        for kind in acted_on()
        for obj in examples_of(kind)
        for field in fields_of(body_of(obj), kind.spec)
    }
    for kind in acted_on():
        missing = {item for item in accepted_fields(kind.spec, kind.refused) if item not in have}
        assert missing == set()


def accepted_fields(model: Any, refused: Refusals, path: str = "") -> Iterator[tuple[type, str]]:
    """Model and name of every field below a model that no pattern refuses."""
    for name, (kind, _) in field_types(model).items():
        below = f"{path}.{name}".lstrip(".")
        if below in refused:
            continue
        yield model, name
        inner = plain(kind)
        while typing.get_origin(inner) in (tuple, dict):
            below += "[]" if typing.get_origin(inner) is tuple else "{}"
            inner = plain(typing.get_args(inner)[0 if typing.get_origin(inner) is tuple else 1])
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from accepted_fields(inner, refused, below)
