"""Spans of time are written as kubectl writes them."""

import pytest

from marline.store.spans import human_duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0s"),
        (0, "0s"),
        (45.9, "45s"),
        (119, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (3600, "60m"),
        (4 * 3600, "4h"),
        (4 * 3600 + 600, "4h10m"),
        (30 * 3600, "30h"),
        (3 * 86400 + 7200, "3d2h"),
        (100 * 86400, "100d"),
        (3 * 365 * 86400, "3y"),
    ],
)
def test_durations_are_written_as_kubectl_does(seconds: float, said: str) -> None:
    assert human_duration(seconds) == said
