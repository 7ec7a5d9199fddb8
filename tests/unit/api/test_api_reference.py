"""The reference that is generated from the code is the one that is committed."""

from pathlib import Path

from marline.api.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "resources.md"


def test_the_committed_reference_is_current() -> None:
    assert PAGE.read_text() == reference(), "run `make docs`"
