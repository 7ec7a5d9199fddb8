"""`kubectl` with roles: made, bound, asked about, and felt."""

import json

import pytest
from kubectl_cluster import Cli

ALICE = ("--as=alice", "--as-group=team")
MANIFEST = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secrets}
rules: [{apiGroups: [""], resources: [secrets], verbs: [VERBS]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: carol}]
"""


@pytest.fixture(scope="module", autouse=True)
def roles(cli: Cli) -> None:
    cli.kubectl("create", "namespace", "shop")
    routes = "virtualservices.networking.istio.io"
    cli.kubectl("create", "role", "routes", "-n", "shop", "--verb=get,list,create", f"--resource={routes}")
    cli.kubectl("create", "rolebinding", "routes", "-n", "shop", "--role=routes", "--group=team")
    cli.kubectl("create", "clusterrole", "probe", "--verb=get", "--non-resource-url=/metrics/*")
    cli.kubectl("create", "clusterrolebinding", "probe", "--clusterrole=probe", "--user=alice")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("create", "vs", "-n", "shop"), "yes"),
        (("delete", "vs", "-n", "shop"), "no"),
        (("create", "vs", "-n", "default"), "no"),
        (("create", "vs", "-A"), "no"),
        (("get", "vs", "--subresource=status", "-n", "shop"), "no"),
        (("get", "/metrics/x"), "yes"),
        (("get", "/marline/v1/tokens"), "no"),
    ],
)
def test_can_i_tells_what_roles_say(cli: Cli, question: tuple[str, ...], answer: str) -> None:
    assert cli.run("kubectl", "auth", "can-i", *question, *ALICE).stdout == f"{answer}\n"


def test_can_i_lists_what_counts_in_a_namespace(cli: Cli) -> None:
    here = cli.kubectl("auth", "can-i", "--list", "-n", "shop", *ALICE)
    assert "virtualservices.networking.istio.io" in here
    assert "/metrics/*" in here
    assert "virtualservices" not in cli.kubectl("auth", "can-i", "--list", "-n", "default", *ALICE)


def test_whoami_with_groups(cli: Cli) -> None:
    who = cli.kubectl("auth", "whoami", "-o", "json", *ALICE)
    expected = {"username": "alice", "groups": ["team", "system:authenticated"]}
    assert json.loads(who)["status"]["userInfo"] == expected


def test_a_refusal_is_worded_as_kubernetes_words_it(cli: Cli) -> None:
    assert cli.kubectl("get", "vs", "-n", "shop", *ALICE) == ""
    complaint = cli.refused("delete", "vs", "x", "-n", "shop", *ALICE)
    assert complaint == (
        'Error from server (Forbidden): virtualservices.networking.istio.io "x" is forbidden: User "alice"'
        ' cannot delete resource "virtualservices" in API group "networking.istio.io"'
        ' in the namespace "shop"\n'
    )


def test_a_manifest_of_roles_is_applied_again_and_described(cli: Cli) -> None:
    cli.kubectl("apply", "-f", "-", stdin=MANIFEST.replace("VERBS", "get"))
    assert cli.kubectl("auth", "can-i", "get", "secrets", "--as=carol") == "yes\n"
    cli.kubectl("apply", "-f", "-", stdin=MANIFEST.replace("VERBS", "list"))
    assert cli.run("kubectl", "auth", "can-i", "get", "secrets", "--as=carol").stdout == "no\n"
    described = cli.kubectl("describe", "role", "secrets")
    assert "[list]" in described
    assert "Role/secrets" in cli.kubectl("get", "rolebindings")


def test_builtin_roles_are_there_to_be_read(cli: Cli) -> None:
    names = cli.kubectl("get", "clusterroles", "-o", "name")
    for name in ("cluster-admin", "admin", "edit", "view", "system:basic-user", "marline:node"):
        assert f"clusterrole.rbac.authorization.k8s.io/{name}\n" in names
    assert "serviceaccounts/certificate" in cli.kubectl("describe", "clusterrole", "edit")


def test_others_can_be_asked_about(cli: Cli) -> None:
    attributes = {
        "verb": "create",
        "group": "networking.istio.io",
        "resource": "virtualservices",
        "namespace": "shop",
    }
    for user, allowed in ({"user": "x", "groups": ["team"]}, True), ({"user": "x"}, False):
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": user | {"resourceAttributes": attributes},
        }  # fmt: skip
        answer = cli.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
        assert json.loads(answer)["status"]["allowed"] is allowed
