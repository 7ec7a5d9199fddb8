"""What annotations of AUDIT policies may say of their records."""

from typing import Any

import pytest

from marline.api.decode import admit, decode
from marline.api.errors import InvalidResource
from marline.api.security.recorded import EVERYTHING, Recorded, recorded

PREFIX = "audit.marline.io/"


def policy(annotations: dict[str, str], action: str = "AUDIT") -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {
            "name": "a", "namespace": "default",
            "annotations": {PREFIX + key: value for key, value in annotations.items()},
        },
        "spec": {"action": action, "rules": [{}]},
    }  # fmt: skip


def made(annotations: dict[str, str], action: str = "AUDIT") -> Recorded:
    return recorded(admit(policy(annotations, action)))


def test_without_annotations_every_request_is_recorded() -> None:
    assert made({}) == EVERYTHING
    assert made({}, "DENY") == EVERYTHING


def test_names_are_lists_and_headers_have_no_case() -> None:
    found = made({"headers": "X-User, accept,x-user", "redact-parameters": "token , Code", "sample": "0.5"})
    assert found == Recorded(5000, ("x-user", "accept"), redacted_parameters=("token", "Code"))


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        ({"sample": "0"}, "audit.marline.io/sample]: '0' is no share"),
        ({"sample": "101"}, "is no share"),
        ({"sample": "a lot"}, "is no share"),
        ({"sample": "0.00001"}, "is no share"),
        ({"headers": ""}, "has 0 names"),
        ({"headers": ",".join(f"x{n}" for n in range(40))}, "has 40 names"),
        ({"headers": "a b"}, "cannot be asked for"),
        ({"headers": ":path"}, "cannot be asked for"),
        ({"headers": "a%REQ(b)%"}, "cannot be asked for"),
        ({"parameters": "a)%"}, "cannot be asked for"),
        ({"headers": "A", "redact-headers": "a"}, "is also in"),
        ({"redact-header": "a"}, "is not known; expected one of"),
    ],
)
def test_what_cannot_be_recorded_is_refused(annotations: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        made(annotations)
    assert fault in str(refused.value)


def test_what_nobody_has_checked_does_no_harm() -> None:
    given = policy({"sample": "a lot", "headers": "a)%,x-user"})
    assert recorded(decode(given)) == Recorded(headers=("x-user",))


def test_other_policies_leave_no_records() -> None:
    with pytest.raises(InvalidResource, match="only a policy with action AUDIT"):
        made({"sample": "10"}, "DENY")
