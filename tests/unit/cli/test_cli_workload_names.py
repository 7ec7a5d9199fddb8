"""Workloads as users name them, to show and to stop."""

import pytest

from marline.cli.down import check_known, is_called
from marline.cli.exits import Failed, Missing
from marline.cli.workloads import choose_workload, complaints
from marline.node.workload import WorkloadStatus


def workload(name: str, service: str, namespace: str = "default", application: str = "app") -> WorkloadStatus:
    return WorkloadStatus(
        f"id-{name}", name, namespace, service, "", "sidecar", f"sidecar~{namespace}~{name}~vm", "",
        "127.0.0.1", {}, "", f"/log/{name}.log", application=application, message="no answer",
    )  # fmt: skip


WORKLOADS = (
    workload("reviews-v1-abcde", "reviews"),
    workload("reviews-v2-fghij", "reviews"),
    workload("ratings-klmno", "ratings"),
    workload("ratings-pqrst", "ratings", namespace="shop", application=""),
)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("reviews-v1-abcde", 0),
        ("reviews-v2", 1),
        ("reviews-v2-fghij.default", 1),
        ("ratings.shop", 3),
        ("ratings-k", 2),
        ("id-ratings-klmno", 2),
        ("sidecar~shop~ratings-pqrst~vm", 3),
    ],
)
def test_a_workload_is_named_by_itself_its_service_or_its_beginning(name: str, means: int) -> None:
    assert choose_workload(name, WORKLOADS) is WORKLOADS[means]


def test_a_name_that_several_have_lists_them() -> None:
    with pytest.raises(Failed, match=r"reviews-v1-abcde\.default, reviews-v2-fghij\.default"):
        choose_workload("reviews", WORKLOADS)


def test_a_name_that_none_has_lists_what_runs() -> None:
    with pytest.raises(Missing, match="running: ratings-klmno"):
        choose_workload("details", WORKLOADS)


def test_what_is_to_stop_is_named_by_application_service_or_workload() -> None:
    assert [is_called(item, ("reviews",)) for item in WORKLOADS] == [True, True, False, False]
    assert [is_called(item, ("app",)) for item in WORKLOADS] == [True, True, True, False]
    check_known(("app", "ratings-pqrst"), WORKLOADS)
    with pytest.raises(Missing, match="'details'; running: app, ratings-pqrst"):
        check_known(("app", "details"), WORKLOADS)


def test_complaints_say_what_is_wrong_and_where_to_read_more() -> None:
    assert complaints(WORKLOADS[:1]) == "  reviews-v1-abcde: no answer (see /log/reviews-v1-abcde.log)"
