"""The reference that is generated from the models and the tests is the one that is committed."""

from pathlib import Path

from field_proofs import field_proofs
from marline.api.reference import pages, unknown, unproven

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


def test_the_committed_reference_is_current() -> None:
    committed = {file.name: file.read_text() for file in FOLDER.glob("*.md")}
    assert committed == pages(field_proofs()), "run `make docs`"


def test_tests_name_fields_that_there_are() -> None:
    assert unknown(field_proofs()) == []


def test_every_field_that_is_acted_on_is_shown_by_a_test() -> None:
    assert unproven(field_proofs()) == [], "mark a behaviour test with `@pytest.mark.proves(…)`"
