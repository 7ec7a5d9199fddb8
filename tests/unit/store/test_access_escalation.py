"""Nobody grants what he does not have, in any way of writing a role or a binding."""

from typing import Any

import pytest
from access_objects import binding, cluster_role, group, paths, role, rule, user
from served_store import Served
from store_objects import namespace

from marline.api.resource import Ref
from marline.store.interface import Forbidden, NotFound
from marline.store.remote.client import RemoteStore

RBAC = "rbac.authorization.k8s.io"
ROLES = "roles rolebindings clusterroles clusterrolebindings"
WRITER = role("writer", rule("*", ROLES, RBAC), rule("get list", "services"))
EVERYWHERE = cluster_role("writer", rule("create patch update get", ROLES, RBAC), rule("get", "services"))
HELD = rule("get", "services")
TOO_MUCH = rule("get", "services secrets")


@pytest.fixture
async def written(served: Served) -> Served:
    """Alice may write all roles and bindings, and read services."""
    for obj in (EVERYWHERE, binding("alice", "writer", user("alice"), namespace="")):
        await served.store.apply(obj, field_manager="test")
    return served


def alice(served: Served) -> RemoteStore:
    return served.client("alice", "team")


@pytest.mark.parametrize(
    ("held", "too_much"),
    [
        (role("r", HELD), role("r", TOO_MUCH)),
        (cluster_role("r", HELD), cluster_role("r", TOO_MUCH)),
        (cluster_role("r", HELD), cluster_role("r", paths("get", "/metrics"))),
        (cluster_role("r", HELD), cluster_role("r", rule("get", "*"))),
        (cluster_role("r", HELD), cluster_role("r", rule("*", "services"))),
        (cluster_role("r", HELD), cluster_role("r") | {"aggregationRule": {"clusterRoleSelectors": [{}]}}),
    ],
)
async def test_rules_that_one_lacks_cannot_be_written(
    written: Served, held: dict[str, Any], too_much: dict[str, Any]
) -> None:
    async with alice(written) as client:
        await client.create(held)
        other = {**too_much, "metadata": {**too_much["metadata"], "name": "other"}}
        for refused in (
            client.update(too_much),
            client.create(other),
            client.apply(too_much, field_manager="a", force=True),
            client.apply_all([other], field_manager="a"),
            client.create(other, dry_run=True),
        ):
            with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
                await refused


async def test_a_patch_is_judged_by_what_it_makes(written: Served) -> None:
    async with alice(written) as client:
        await client.create(role("r", HELD))
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/r"
        patch = [{"op": "add", "path": "/rules/0/resources/-", "value": "secrets"}]
        with pytest.raises(Forbidden) as refused:
            await client.request("PATCH", path, body=patch, content_type="application/json-patch+json")
        assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in str(refused.value)
        label = {"metadata": {"labels": {"a": "b"}}}
        await client.request("PATCH", path, body=label, content_type="application/merge-patch+json")


async def test_what_others_may_is_not_for_giving(written: Served) -> None:
    async with alice(written) as client:
        for refused in (
            client.create(binding("b", "cluster-admin", user("alice"), namespace="")),
            client.create(binding("b", "view", user("alice"), kind="ClusterRole")),
            client.apply_all([binding("b", "admin", user("x"), kind="ClusterRole")], field_manager="a"),
        ):
            with pytest.raises(Forbidden, match="not currently held"):
                await refused
        with pytest.raises(NotFound):
            await client.create(binding("b", "nothing", user("alice")))
        await client.apply_all([role("r", HELD), binding("b", "r", group("team"))], field_manager="a")


async def test_the_verbs_escalate_and_bind_lift_it_for_what_they_name(written: Served) -> None:
    lifted = cluster_role(
        "lifted", rule("escalate", "roles", RBAC), rule("bind", "clusterroles", RBAC, "view")
    )
    await written.store.apply(lifted, field_manager="test")
    await written.store.apply(binding("l", "lifted", user("alice"), namespace=""), field_manager="test")
    async with alice(written) as client:
        await client.create(role("r", TOO_MUCH))
        await client.create(binding("b", "view", user("bob"), kind="ClusterRole"))
        for refused in (
            client.create(cluster_role("r", TOO_MUCH)),
            client.create(binding("c", "edit", user("bob"), kind="ClusterRole")),
        ):
            with pytest.raises(Forbidden):
                await refused


async def test_the_admin_of_a_namespace_gives_there_what_he_has_there(served: Served) -> None:
    for obj in (namespace("shop"), binding("a", "admin", user("alice"), kind="ClusterRole")):
        await served.store.apply(obj, field_manager="test")
    async with alice(served) as client:
        await client.create(role("r", rule("get", "secrets")))
        await client.create(binding("b", "edit", user("bob"), kind="ClusterRole"))
        with pytest.raises(Forbidden):
            await client.create(role("r", rule("get", "secrets"), namespace="shop"))
        with pytest.raises(Forbidden):
            await client.create(cluster_role("r", rule("get", "secrets")))


async def test_acting_as_another_needs_the_verb_for_the_user_and_each_group(served: Served) -> None:
    impersonator = cluster_role(
        "as", rule("impersonate", "users", "", "bob"), rule("impersonate", "groups", "", "g")
    )
    for obj in (impersonator, binding("as", "as", user("alice"), namespace="")):
        await served.store.apply(obj, field_manager="test")
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    for headers, who in (({"Impersonate-User": "bob"}, "bob"), ({}, "alice")):
        answer = await served.ask("alice", path, {}, headers)
        assert answer["status"]["userInfo"]["username"] == who
    for headers, word in (
        ({"Impersonate-User": "carol"}, 'users "carol" is forbidden'),
        ({"Impersonate-User": "bob", "Impersonate-Group": "system:masters"}, 'groups "system:masters"'),
    ):
        answer = await served.ask("alice", path, {}, headers)
        assert answer["code"] == 403
        assert word in answer["message"]


async def test_builtin_roles_are_mended_at_a_start_and_keep_what_was_added(served: Served) -> None:
    ref = Ref(RBAC, "ClusterRole", "", "system:basic-user")
    added = rule("list", "events")
    stored = await served.store.get(ref)
    assert len(stored.spec.rules) > 1
    broken = cluster_role(ref.name, added) | {"metadata": {"name": ref.name, "annotations": {
        "rbac.authorization.kubernetes.io/autoupdate": "true"}}}  # fmt: skip
    await served.store.update(broken)
    await served.store.mend_roles()
    assert len((await served.store.get(ref)).spec.rules) == len(stored.spec.rules) + 1
