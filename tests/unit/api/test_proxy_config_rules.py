"""What a ProxyConfig must fulfil."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import InvalidResource


def faults(**spec: Any) -> list[str]:
    head = {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig"}
    try:
        admit({**head, "metadata": {"name": "it", "namespace": "default"}, "spec": spec})
    except InvalidResource as error:
        return [item.path.removeprefix("spec.") for item in error.errors]
    return []


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"image": {"imageType": "distroless"}}, "image"),
        ({"concurrency": -1}, "concurrency"),
        ({"selector": {"matchLabels": {"a b": "c"}}}, "selector.matchLabels[a b]"),
        ({"environmentVariables": {"A-B": "c"}}, "environmentVariables[A-B]"),
        ({"environmentVariables": {"A": "\0"}}, "environmentVariables[A]"),
        ({"environmentVariables": {"ISTIO_META_X": "c"}}, "environmentVariables[ISTIO_META_X]"),
        ({"environmentVariables": {"LD_PRELOAD": "/c"}}, "environmentVariables[LD_PRELOAD]"),
    ],
)
def test_what_could_not_work_is_refused(spec: Any, path: str) -> None:
    assert faults(**spec) == [path]


def test_all_that_is_left_is_accepted() -> None:
    assert (
        faults(concurrency=0, environmentVariables={"A_1": "x"}, selector={"matchLabels": {"a": "b"}}) == []
    )
