"""What kubectl's user reads when the server does not do what was asked."""

from pathlib import Path

import pytest
import yaml
from kubectl_cluster import Cli

WRONG = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wrong}
spec:
  hostz: [reviews]
  http:
  - route:
    - destination: {host: reviews, port: {number: x}}
    timeout: soon
"""
FAULTS = (
    'The VirtualService "wrong" is invalid:',
    "* spec.hostz: unknown field (did you mean 'hosts'?)",
    "* spec.http[0].route[0].destination.port.number: expected an integer, found string 'x'",
    "* spec.http[0].timeout: 'soon' is not a duration",
)


@pytest.mark.parametrize(
    "command",
    [
        ("apply",),
        ("apply", "--server-side"),
        ("apply", "--validate=strict"),
        ("apply", "--validate=warn"),
        ("apply", "--validate=false"),
        ("apply", "--dry-run=server"),
        ("create",),
    ],
)
def test_every_fault_is_named_however_a_file_is_written(cli: Cli, command: tuple[str, ...]) -> None:
    complaint = cli.refused(*command, "-f", "-", stdin=WRONG)
    for fault in FAULTS:
        assert fault in complaint


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServis\nmetadata: {name: x}",
            'no matches for kind "VirtualServis" in version "networking.istio.io/v1"',
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}", 'no matches for kind "Pod" in version "v1"'),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ../x}", "'../x' is not a DNS name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nfoo: 1", "foo: unknown field"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labells: {}}", "did you mean 'labels'?"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nowhere}",
            'namespaces "nowhere" not found',
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: ExternalName}",
            'The Service "x" is invalid: spec.type: ExternalName is not acted on',
        ),
    ],
)
def test_refusal_says_what_is_wrong(cli: Cli, manifest: str, complaint: str) -> None:
    assert complaint in cli.refused("create", "-f", "-", stdin=manifest)


def changed_kubeconfig(cli: Cli, directory: Path, **changes: str | None) -> str:
    """The administrator's kubeconfig with other values for some fields of its cluster and user."""
    config = yaml.safe_load(cli.server.kubeconfig.read_text())
    for name, value in changes.items():
        key = name.replace("_", "-")
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        part = cluster if key in cluster else user
        part.pop(key, None)
        part |= {key: value} if value else {}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_without_credentials_nothing_is_shown(cli: Cli, tmp_path: Path) -> None:
    config = changed_kubeconfig(
        cli, tmp_path, client_certificate_data=None, client_key_data=None, token="wrong"
    )
    complaint = cli.refused("get", "secrets", KUBECONFIG=config)
    assert complaint == "error: You must be logged in to the server (Unauthorized)\n"


def test_server_with_another_authority_is_not_trusted(cli: Cli, tmp_path: Path) -> None:
    config = changed_kubeconfig(cli, tmp_path, certificate_authority_data=None)
    complaint = cli.refused("get", "secrets", KUBECONFIG=config)
    assert "certificate signed by unknown authority" in complaint


def test_kubeconfig_is_private(cli: Cli) -> None:
    assert cli.server.kubeconfig.stat().st_mode & 0o777 == 0o600
