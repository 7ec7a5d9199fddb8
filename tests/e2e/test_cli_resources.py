"""Resources and proxies from the command line, against a running mesh; exit codes throughout."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cli_process import Ended, marline
from running_mesh import Mesh, running_mesh

from marline.store.interface import StoreError
from marline.store.remote.client import RemoteStore

APPLICATION = """
name: shop
services:
  web:
    ports: [http:8080]
    upstreams: [echo:9080]
    command: "{python} {apps}/echo.py"
  echo:
    version: v1
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - timeout: 2s
    route: [{destination: {host: echo}}]
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with running_mesh("explicit", APPLICATION) as mesh:
        yield mesh


def ask(mesh: Mesh, *arguments: str, text: str = "") -> Ended:
    return marline(mesh.home, *arguments, text=text)


def test_a_resource_is_applied_listed_described_and_deleted(mesh: Mesh) -> None:
    dry = ask(mesh, "apply", "--dry-run", "-f", "-", text=RULE)
    assert (dry.code, dry.out) == (0, "virtualservice.networking.istio.io/echo created (dry run)\n")
    assert ask(mesh, "get", "vs", "echo").code == 4
    applied = ask(mesh, "apply", "--wait", "-f", "-", text=RULE)
    assert (applied.code, applied.out) == (0, "virtualservice.networking.istio.io/echo created\n")
    again = ask(mesh, "apply", "-f", "-", "-o", "json", text=RULE).json()
    assert [item["action"] for item in again] == ["unchanged"]
    assert ask(mesh, "get", "vs/echo").out.splitlines()[1].split()[:2] == ["echo", '["echo"]']
    assert ask(mesh, "get", "vs", "echo", "-o", "json").json()["spec"]["hosts"] == ["echo"]
    routes = ask(mesh, "proxy-config", "route", "web", "--host", "echo")
    assert "virtual-service/echo.default" in routes.out
    described = ask(mesh, "describe", "vs", "echo")
    assert (described.code, "timeout: 2s" in described.out) == (0, True)
    deleted = ask(mesh, "delete", "-f", "-", text=RULE)
    assert (deleted.code, deleted.out) == (0, "virtualservice.networking.istio.io/echo deleted\n")
    assert ask(mesh, "delete", "vs", "echo").code == 4
    assert ask(mesh, "delete", "vs", "echo", "--ignore-not-found").code == 0


def test_one_wrong_resource_keeps_all_of_a_directory_out(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULE)
    (tmp_path / "b.yaml").write_text(RULE.replace("name: echo", "name: b").replace("timeout", "timeuot"))
    refused = ask(mesh, "apply", "-f", str(tmp_path))
    assert (refused.code, refused.out) == (1, "")
    assert (
        f"{tmp_path}/b.yaml:8: spec.http[0].timeuot: unknown field (did you mean 'timeout'?)" in refused.err
    )
    assert ask(mesh, "get", "vs").out == ""


def test_fields_of_another_manager_are_a_conflict(mesh: Mesh) -> None:
    service = ask(mesh, "get", "svc", "echo", "-o", "json").json()
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {selector: {app: other}}\n"
    refused = ask(mesh, "apply", "-f", "-", text=text)
    assert refused.code == 1
    assert "marline-node" in refused.err
    assert "--force-conflicts" in refused.err
    assert ask(mesh, "get", "svc", "echo", "-o", "json").json() == service


def test_a_service_is_described_with_its_endpoints(mesh: Mesh) -> None:
    (facts,) = ask(mesh, "describe", "svc", "echo", "-o", "json").json()["services"]
    (endpoint,) = facts["endpoints"]
    assert (endpoint["ready"], endpoint["mtls"]) == (True, True)
    assert endpoint["identity"] == "spiffe://cluster.local/ns/default/sa/echo"
    assert "Accepts:    mTLS STRICT" in ask(mesh, "describe", "workload", "echo").out


def test_all_proxies_are_in_sync(mesh: Mesh) -> None:
    proxies = ask(mesh, "proxy-status", "-o", "json").json()
    assert sorted(item["name"].split("-")[0] for item in proxies) == ["echo", "web"]
    assert {item["state"] for item in proxies} == {"SYNCED"}
    assert ask(mesh, "proxy-status", "echo").out.count("SYNCED") > 3
    assert ask(mesh, "proxy-status", "nobody").code == 4


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("cluster", "echo.default.svc.cluster.local"),
        ("listener", "Route: "),
        ("route", "echo.default.svc.cluster.local:9080"),
        ("endpoint", "outbound|9080||echo.default.svc.cluster.local"),
        ("secret", "spiffe://cluster.local/ns/default/sa/web"),
        ("bootstrap", "DELTA_GRPC"),
    ],
)
def test_a_proxy_says_what_it_has_and_keeps_its_key(mesh: Mesh, what: str, shown: str) -> None:
    assert shown in ask(mesh, "proxy-config", what, "web").out
    plain = ask(mesh, "proxy-config", what, "web", "-o", "json")
    assert plain.json()
    assert "private_key" not in plain.out
    assert ask(mesh, "proxy-config", what, "web", "-o", "yaml").code == 0
    assert ask(mesh, "proxy-config", what, "nobody").code == 4


def test_versions_are_told_of_all_three(mesh: Mesh) -> None:
    versions = ask(mesh, "version", "-o", "json").json()
    assert versions["controlPlane"] == versions["marline"]
    assert versions["envoy"].startswith("1.40.")


def test_a_running_mesh_is_told_apart_from_another(mesh: Mesh, tmp_path: Path) -> None:
    assert ask(mesh, "up").code == 0
    refused = ask(mesh, "up", "--trust-domain", "example.org")
    assert (refused.code, "`marline down` first" in refused.err) == (1, True)
    (tmp_path / "rule.yaml").write_text(RULE)
    refused = ask(mesh, "up", "-f", str(tmp_path / "rule.yaml"))
    assert (refused.code, "marline apply -f" in refused.err) == (1, True)


def test_what_is_not_running_cannot_be_stopped(mesh: Mesh) -> None:
    refused = ask(mesh, "down", "web", "details")
    assert (refused.code, "running: shop" in refused.err) == (4, True)
    assert len(mesh.workloads()) == 2


def test_tokens_let_in_as_far_as_their_role_goes_until_they_are_revoked(mesh: Mesh) -> None:
    made = {
        name: ask(mesh, "token", "create", f"robot-{name}", "--group", group).out.strip()
        for name, group in (("guest", "guests"), ("admin", "system:masters"))
    }
    config = yaml.safe_load((mesh.home / "kubeconfig").read_text())

    async def write(token: str) -> str:
        config["users"][0]["user"] = {"token": token}
        path = mesh.home / "robot.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        async with RemoteStore.from_kubeconfig(path) as store:
            try:
                await store.apply(yaml.safe_load(RULE), field_manager="robot", dry_run=True)
            except StoreError as error:
                return error.reason
        return "written"

    assert asyncio.run(write(made["admin"])) == "written"
    assert asyncio.run(write(made["guest"])) == "Forbidden"
    assert asyncio.run(write("guessed")) == "Unauthorized"
    revoked = ask(mesh, "token", "revoke", "robot-admin", "-o", "json")
    assert (revoked.code, revoked.json()) == (0, {"revoked": 1})
    assert asyncio.run(write(made["admin"])) == "Unauthorized"
    kept = (mesh.home / "data/api/tokens.json").read_text()
    assert made["guest"] not in kept
    assert "robot-admin" not in kept
