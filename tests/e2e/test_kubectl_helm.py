"""Helm 4 installs, upgrades, rolls back and uninstalls a chart."""

from pathlib import Path

import pytest
from kubectl_cluster import Cli

TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {subset: {{ .Values.subset }} }
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: {{ .Release.Name }}}
spec:
  hosts: [{{ .Release.Name }}]
  http: [{route: [{destination: {host: {{ .Release.Name }}, subset: {{ .Values.subset }} }}]}]
"""


@pytest.fixture
def chart(tmp_path: Path) -> str:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: reviews\nversion: 0.1.0\n")
    (tmp_path / "values.yaml").write_text("subset: v1\n")
    (tmp_path / "templates" / "all.yaml").write_text(TEMPLATE)
    return str(tmp_path)


def subsets(cli: Cli, namespace: str) -> tuple[str, str]:
    """What the VirtualService and the ConfigMap of the release say."""
    route = cli.json("-n", namespace, "get", "vs", "web")["spec"]["http"][0]["route"][0]
    settings = cli.json("-n", namespace, "get", "cm", "web")["data"]
    return route["destination"]["subset"], settings["subset"]


def test_release_is_installed_upgraded_rolled_back_and_uninstalled(
    cli: Cli, namespace: str, chart: str
) -> None:
    place = ("-n", namespace)
    assert "STATUS: deployed" in cli.helm("install", "web", chart, *place, "--wait")
    assert subsets(cli, namespace) == ("v1", "v1")
    cli.helm("upgrade", "web", chart, "--set=subset=v2", *place, "--wait")
    assert subsets(cli, namespace) == ("v2", "v2")
    cli.helm("rollback", "web", "1", *place, "--wait")
    assert subsets(cli, namespace) == ("v1", "v1")
    revisions = cli.helm("history", "web", *place).splitlines()[1:]
    assert [line.split()[0] for line in revisions] == ["1", "2", "3"]
    assert "web" in cli.helm("list", *place)
    assert "==> v1/VirtualService" in cli.helm("status", "web", *place)
    cli.helm("uninstall", "web", *place, "--wait")
    assert cli.kubectl(*place, "get", "vs,svc,cm,secret", "-o", "name") == ""


def test_upgrade_also_works_from_the_clients_side(cli: Cli, namespace: str, chart: str) -> None:
    place = ("-n", namespace, "--server-side=false")
    cli.helm("install", "web", chart, *place)
    cli.helm("upgrade", "web", chart, "--set=subset=v2", *place)
    assert subsets(cli, namespace) == ("v2", "v2")


def test_helm_takes_back_a_field_that_another_changed_only_when_forced(
    cli: Cli, namespace: str, chart: str
) -> None:
    place = ("-n", namespace)
    cli.helm("install", "web", chart, *place)
    cli.kubectl(*place, "patch", "cm", "web", "-p", '{"data":{"subset":"v9"}}')
    upgrade = ("upgrade", "web", chart, "--set=subset=v2", *place)
    failed = cli.run("helm", *upgrade)
    assert failed.returncode == 1
    assert 'conflict with "kubectl-patch" using v1: .data.subset' in failed.stderr
    cli.helm(*upgrade, "--force-conflicts")
    assert subsets(cli, namespace) == ("v2", "v2")


def test_release_with_a_wrong_object_fails_and_says_why(cli: Cli, namespace: str, chart: str) -> None:
    template = Path(chart) / "templates" / "all.yaml"
    template.write_text(TEMPLATE.replace("hosts:", "hostz:"))
    failed = cli.run("helm", "install", "web", chart, "-n", namespace)
    assert failed.returncode == 1
    assert "spec.hostz: unknown field (did you mean 'hosts'?)" in failed.stderr
