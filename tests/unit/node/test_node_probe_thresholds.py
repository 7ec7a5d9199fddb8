"""When the results of a probe change readiness."""

import pytest

from marline.node.probes import Threshold, next_check
from marline.node.workload import ProbeSpec


@pytest.mark.parametrize(
    "results, ready",
    [
        ("", False),
        ("y", False),
        ("yy", True),
        ("yny", False),
        ("ynyy", True),
        ("yynn", True),
        ("yynnn", False),
        ("yynnynn", True),
    ],
)
def test_only_results_in_a_row_count(results: str, ready: bool) -> None:
    state = Threshold(success=2, failure=3)
    for result in results:
        state.result(result == "y")
    assert state.ready is ready


def test_a_change_is_told_once() -> None:
    state = Threshold(success=1, failure=1)
    assert [state.result(item) for item in (True, True, False, False)] == [True, False, True, False]


def test_an_application_that_starts_is_checked_more_often() -> None:
    spec = ProbeSpec(period=10.0)
    assert next_check(spec, ever_ready=False) < 1.0
    assert next_check(spec, ever_ready=True) == 10.0
    assert next_check(ProbeSpec(period=0.1), ever_ready=False) == 0.1
