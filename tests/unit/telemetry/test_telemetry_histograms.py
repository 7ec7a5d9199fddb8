"""Quantiles of histograms, their sums and their growth."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.telemetry.histogram import Histogram, total

BOUNDS = (1.0, 5.0, 10.0, 100.0, math.inf)
OBSERVATIONS = st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=60)


def observed(values: list[float], bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    return Histogram(tuple((bound, float(sum(v <= bound for v in values))) for bound in bounds))


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    histogram = Histogram(((10.0, 0.0), (20.0, 10.0), (math.inf, 10.0)))
    assert histogram.quantile(0.5) == pytest.approx(15.0)
    assert histogram.quantile(1.0) == pytest.approx(20.0)


def test_the_first_bucket_begins_at_zero() -> None:
    assert Histogram(((10.0, 4.0), (math.inf, 4.0))).quantile(0.5) == pytest.approx(5.0)


def test_a_quantile_is_never_beyond_the_largest_finite_bound() -> None:
    assert Histogram(((10.0, 1.0), (math.inf, 100.0))).quantile(0.99) == 10.0


def test_without_observations_there_is_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram(((1.0, 0.0), (math.inf, 0.0))).quantile(0.5) is None


def test_a_histogram_that_has_shrunk_began_anew() -> None:
    before, after = observed([2.0] * 9), observed([2.0] * 4)
    assert after.since(before) == after


def test_of_different_bounds_the_shared_ones_are_summed() -> None:
    one = Histogram(((1.0, 1.0), (5.0, 2.0), (math.inf, 3.0)))
    other = Histogram(((5.0, 4.0), (math.inf, 4.0)))
    assert total([one, other, Histogram()]) == Histogram(((5.0, 6.0), (math.inf, 7.0)))


@given(OBSERVATIONS, st.floats(min_value=0, max_value=1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    estimate = observed(values).quantile(share)
    rank = max(math.ceil(share * len(values)), 1)
    true = sorted(values)[rank - 1]
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max((bound for bound in (0.0, *BOUNDS) if bound < upper), default=0.0)
    assert estimate is not None
    assert lower <= estimate <= upper


@given(OBSERVATIONS)
def test_quantiles_grow_with_their_share(values: list[float]) -> None:
    histogram = observed(values)
    found = [histogram.quantile(step / 20) or 0.0 for step in range(21)]
    assert found == sorted(found)


@given(OBSERVATIONS, OBSERVATIONS)
def test_a_sum_is_the_histogram_of_all_observations(some: list[float], more: list[float]) -> None:
    assert total([observed(some), observed(more)]) == observed([*some, *more])


@given(OBSERVATIONS, OBSERVATIONS)
def test_growth_is_the_histogram_of_the_new_observations(old: list[float], new: list[float]) -> None:
    assert observed([*old, *new]).since(observed(old)) == observed(new)
