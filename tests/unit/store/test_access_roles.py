"""Roles and bindings, asked of the API server as its users ask it."""

import asyncio
from typing import Any

import pytest
from access_objects import binding, cluster_role, group, paths, role, rule, user
from served_store import Served
from store_objects import configmap, namespace, service, virtual_service

from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.store.interface import Forbidden, Refused

RBAC = "rbac"
SERVICES = rule("get list watch create update patch delete", "services")


async def give(served: Served, *objs: dict[str, Any]) -> None:
    for obj in objs:
        await served.store.apply(obj, field_manager="test", force=True)


@pytest.mark.proves(
    "rbac.RoleBody.rules", "rbac.PolicyRule.verbs", "rbac.PolicyRule.apiGroups", "rbac.PolicyRule.resources",
    "rbac.RoleRef.kind", "rbac.RoleRef.name", "rbac.RoleRef.apiGroup",
    "rbac.Subject.kind", "rbac.Subject.name", "rbac.Subject.apiGroup",
)  # fmt: skip
async def test_a_role_counts_in_its_namespace_and_for_its_subjects_only(served: Served) -> None:
    await give(
        served, namespace("shop"), role("r", rule("list", "services")), binding("b", "r", user("alice"))
    )
    async with served.client("alice", "team") as alice, served.client("bob", "team") as bob:
        assert (await alice.list("", "Service", "default")).items == ()
        with pytest.raises(Forbidden) as refused:
            await alice.list("", "Service", "shop")
        assert str(refused.value) == (
            'services is forbidden: User "alice" cannot list resource "services" in API group ""'
            ' in the namespace "shop"'
        )
        with pytest.raises(Forbidden, match="at the cluster scope"):
            await alice.list("", "Service")
        with pytest.raises(Forbidden, match='"services" in API group ""'):
            await alice.create(service("s"))
        with pytest.raises(Forbidden, match='User "bob"'):
            await bob.list("", "Service", "default")


@pytest.mark.proves(
    "rbac.ClusterRoleBody.rules", "rbac.ClusterRoleBindingBody.roleRef", "rbac.RoleBindingBody.subjects",
    "rbac.RoleBindingBody.roleRef", "rbac.ClusterRoleBindingBody.subjects",
)  # fmt: skip
async def test_a_cluster_role_counts_where_it_is_bound(served: Served) -> None:
    await give(
        served, namespace("shop"), cluster_role("reader", rule("list", "services")),
        binding("everywhere", "reader", group("auditors"), namespace=""),
        binding("here", "reader", group("team"), kind="ClusterRole"),
    )  # fmt: skip
    async with served.client("a", "auditors") as auditor, served.client("t", "team") as team:
        await auditor.list("", "Service")
        await team.list("", "Service", "default")
        with pytest.raises(Forbidden):
            await team.list("", "Service", "shop")


@pytest.mark.proves("rbac.Subject.namespace")
async def test_a_service_account_is_a_user_of_its_namespace(served: Served) -> None:
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    await give(served, role("r", rule("list", "services")), binding("b", "r", subject))
    async with served.client("system:serviceaccount:default:robot", "x") as robot:
        await robot.list("", "Service", "default")
    async with served.client("system:serviceaccount:other:robot", "x") as other:
        with pytest.raises(Forbidden):
            await other.list("", "Service", "default")


@pytest.mark.proves("rbac.PolicyRule.resourceNames")
async def test_one_object_and_its_status_can_be_allowed_apart(served: Served) -> None:
    networking = "networking.istio.io"
    await give(
        served, virtual_service("mine"), virtual_service("other"),
        role("r", rule("get patch", "virtualservices/status", networking, "mine"),
             rule("get list", "virtualservices", networking, "mine")),
        binding("b", "r", user("alice")),
    )  # fmt: skip
    async with served.client("alice", "x") as alice:
        mine, other = (Ref(networking, "VirtualService", "default", name) for name in ("mine", "other"))
        assert (await alice.get(mine)).name == "mine"
        await alice.patch_status(mine, {"observedGeneration": 1})
        for refused in (alice.get(other), alice.patch_status(other, {}), alice.delete(mine)):
            with pytest.raises(Forbidden):
                await refused
        path = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
        found = await alice.request("GET", path, params={"fieldSelector": "metadata.name=mine"})
        assert len(found.json()["items"]) == 1
        for query in ({}, {"fieldSelector": "metadata.name!=mine"}, {"fieldSelector": "metadata.name=other"}):
            with pytest.raises(Forbidden):
                await alice.request("GET", path, params=query)


@pytest.mark.proves("rbac.PolicyRule.nonResourceURLs")
async def test_paths_are_allowed_by_cluster_roles_that_are_bound_everywhere(served: Served) -> None:
    await give(
        served, cluster_role("p", paths("get", "/metrics*")), binding("b", "p", user("alice"), namespace="")
    )
    async with served.client("alice", "x") as alice:
        with pytest.raises(Refused, match="could not find"):
            await alice.request("GET", "/metrics/x")
        with pytest.raises(Forbidden, match='User "alice" cannot get path "/other"'):
            await alice.request("GET", "/other")
        assert (await alice.request("GET", "/apis")).status == 200


async def test_applying_what_is_not_there_is_creating_it(served: Served) -> None:
    await give(
        served, configmap("old"), role("r", rule("patch", "configmaps")), binding("b", "r", user("alice"))
    )
    async with served.client("alice", "x") as alice:
        await alice.apply(configmap("old", {"k": "v"}), field_manager="a", force=True)
        for refused in (
            alice.apply(configmap("new"), field_manager="a"),
            alice.apply_all([configmap("new")], field_manager="a"),
        ):
            with pytest.raises(Forbidden, match='cannot create resource "configmaps"'):
                await refused


async def test_a_watch_ends_when_it_is_no_longer_allowed(served: Served) -> None:
    await give(served, role("r", rule("list watch", "services")), binding("b", "r", user("alice")))
    path = "/api/v1/namespaces/default/services"
    async with served.client("alice", "x") as alice:
        watching = asyncio.create_task(alice.request("GET", path, params={"watch": "1"}))
        await give(served, service("seen"))
        await asyncio.sleep(0.05)
        await served.store.delete(Ref("rbac.authorization.k8s.io", "RoleBinding", "default", "b"))
        await give(served, service("unseen"))
        text = (await asyncio.wait_for(watching, 10)).body.decode()
    assert "unseen" not in text


@pytest.mark.proves(
    "rbac.AggregationRule.clusterRoleSelectors", "rbac.ClusterRoleBody.aggregationRule",
    "rbac.LabelSelector.matchLabels", "rbac.LabelSelector.matchExpressions",
    "rbac.LabelSelectorRequirement.key", "rbac.LabelSelectorRequirement.operator",
    "rbac.LabelSelectorRequirement.values",
)  # fmt: skip
async def test_a_sum_of_roles_follows_its_parts(served: Served) -> None:
    expression = {"key": "tier", "operator": "NotIn", "values": ["inner"]}
    selector = {"matchLabels": {"part": "x"}, "matchExpressions": [expression]}
    total = cluster_role("sum") | {"aggregationRule": {"clusterRoleSelectors": [selector]}}
    ref = Ref("rbac.authorization.k8s.io", "ClusterRole", "", "sum")
    await give(served, total, cluster_role("inner", rule("*", "*"), part="x", tier="inner"),
               cluster_role("one", rule("list", "services"), part="x"),
               binding("b", "sum", user("alice"), namespace=""))  # fmt: skip
    async with served.client("alice", "x") as alice:
        await alice.list("", "Service")
        with pytest.raises(Forbidden):
            await alice.list("", "Secret")
        assert len((await served.store.get(ref)).spec.rules) == 1
        await served.store.delete(Ref("rbac.authorization.k8s.io", "ClusterRole", "", "one"))
        assert (await served.store.get(ref)).spec.rules == ()
        with pytest.raises(Forbidden):
            await alice.list("", "Service")


async def test_view_shows_no_secrets_and_what_is_added_to_it(served: Served) -> None:
    await give(served, binding("b", "view", user("alice"), kind="ClusterRole"))
    async with served.client("alice", "x") as alice:
        await alice.list("networking.istio.io", "VirtualService", "default")
        with pytest.raises(Forbidden):
            await alice.list("", "Secret", "default")
        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        await give(served, cluster_role("more", rule("list", "secrets"), **label))
        await alice.list("", "Secret", "default")


async def test_what_a_binding_refers_to_cannot_be_changed(served: Served) -> None:
    await give(served, binding("b", "view", user("alice"), kind="ClusterRole"))
    with pytest.raises(InvalidResource, match="cannot change roleRef"):
        await give(served, binding("b", "admin", user("alice"), kind="ClusterRole"))
