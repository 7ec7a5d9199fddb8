"""`kubectl api-resources`, `explain`, `version`, `auth`: what the server says about itself and its users."""

import pytest
from kubectl_cluster import Cli

from marline.api.registry import KINDS

NODE = ("--as=node-1", "--as-group=marline:nodes")


def test_every_kind_and_version_is_listed(cli: Cli) -> None:
    rows = cli.kubectl("api-resources", "--no-headers").splitlines()
    listed = {(row.split()[-3], row.split()[-1]) for row in rows}
    assert {(kind.api_version, kind.kind) for kind in KINDS} <= listed
    assert ["virtualservices", "vs", "networking.istio.io/v1", "true", "VirtualService"] in map(
        str.split, rows
    )
    versions = set(cli.kubectl("api-versions").split())
    assert {f"networking.istio.io/{version}" for version in ("v1", "v1beta1", "v1alpha3")} <= versions


@pytest.mark.parametrize("kind", [f"{kind.plural}.{kind.group}".rstrip(".") for kind in KINDS])
def test_every_kind_is_explained(cli: Cli, kind: str) -> None:
    text = cli.kubectl("explain", kind, "--recursive")
    assert "DESCRIPTION:\n    <empty>" not in text
    assert "  metadata\t<ObjectMeta>\n" in text


def test_explain_goes_down_to_one_field_of_one_version(cli: Cli) -> None:
    version = "--api-version=networking.istio.io/v1beta1"
    text = cli.kubectl("explain", "vs.spec.http.retries", version)
    assert "VERSION:    v1beta1" in text
    assert "  attempts\t<integer>" in text
    assert 'field "nothing" does not exist' in cli.refused("explain", "vs.spec.nothing")


def test_explain_says_what_is_not_acted_on(cli: Cli) -> None:
    text = " ".join(cli.kubectl("explain", "svc.spec").split())
    assert "externalIPs <[]string> Not acted on: addresses outside the mesh." in text
    assert "ExternalName is not acted on: aliases; use a ServiceEntry with resolution DNS." in text


def test_the_kinds_are_listed_as_definitions_that_nobody_can_change(cli: Cli) -> None:
    listed = {line.split()[0] for line in cli.kubectl("get", "crds", "--no-headers").splitlines()}
    for name in ("virtualservices.networking.istio.io", "ratelimitpolicies.policy.marline.io"):
        assert name in listed
    assert not {name for name in listed if name.startswith(("services.", "endpointslices."))}
    one = cli.json("get", "crd", "httproutes.gateway.networking.k8s.io")
    assert one["metadata"]["annotations"]["gateway.networking.k8s.io/channel"] == "experimental"
    assert one["spec"]["versions"][0]["name"] == "v1"
    assert "comes with Marline" in cli.refused("delete", "crd", "httproutes.gateway.networking.k8s.io")
    assert "not found" in cli.refused("get", "crd", "things.example.com")


def test_version_and_health(cli: Cli) -> None:
    assert "Server Version: v1.37" in cli.kubectl("version")
    assert cli.kubectl("get", "--raw", "/readyz") == "ok"
    assert "is running at https://127.0.0.1" in cli.kubectl("cluster-info")


def test_whoami_and_what_one_may(cli: Cli) -> None:
    who = cli.json("auth", "whoami")["status"]["userInfo"]
    assert who == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert cli.kubectl("auth", "can-i", "delete", "secrets") == "yes\n"
    assert "*.*" in cli.kubectl("auth", "can-i", "--list")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("patch", "workloadentries.networking.istio.io", *NODE), "yes"),
        (("get", "secrets", *NODE), "no"),
        (("list", "virtualservices.networking.istio.io", *NODE), "yes"),
        (("create", "secrets", *NODE), "no"),
        (("get", "secrets", "--as=guest"), "no"),
        (("get", "/apis/networking.istio.io", "--as=guest"), "yes"),
        (("get", "/marline/v1/sign", "--as=guest"), "no"),
    ],
)
def test_others_may_less(cli: Cli, question: tuple[str, ...], answer: str) -> None:
    assert cli.run("kubectl", "auth", "can-i", *question).stdout == f"{answer}\n"


def test_acting_as_another_has_the_others_rights_only(cli: Cli) -> None:
    complaint = cli.refused("get", "secrets", "--as=guest")
    assert 'User "guest" cannot list resource "secrets" in API group ""' in complaint
    assert "selfsubjectreviews" in cli.kubectl("auth", "can-i", "--list", "--as=guest")
    assert "Impersonate-Uid is not supported" in cli.refused("get", "cm", "--as=guest", "--as-uid=1")
