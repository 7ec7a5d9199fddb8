"""No secret of a mesh is to be read where it does not belong: in logs, in files of others, in command lines,
in what commands say. A mesh is used, and misused; then everything that it left is searched."""

import base64
import json
import os
import re
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from running_mesh import ECHO, Mesh, eventually, free_port, running_mesh
from test_mesh_gateway import Authority, tls_secret

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.test]
    tls: {mode: SIMPLE, credentialName: shop}
"""
MALFORMED = """
apiVersion: v1
kind: Secret
metadata: {name: broken, namespace: istio-system}
type: kubernetes.io/tls
stringData: {tls.crt: none, tls.key: |
%s}
"""
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(.*?)\s*-----END", re.DOTALL)


@dataclass
class Secrets:
    """What nobody may read, by what it is, in every form in which it could be written."""

    forms: dict[bytes, str] = field(default_factory=dict)

    def add(self, what: str, value: bytes) -> None:
        self.forms[value] = what
        self.forms[base64.b64encode(value)] = f"{what} (base64)"

    def add_key(self, what: str, pem: bytes) -> None:
        """Of each key the end of its first line: how lines begin, keys of one kind have in common."""
        bodies = _KEY.findall(pem)
        assert bodies, what
        for body in bodies:
            self.add(what, body.split()[0][-14:])
        self.forms[base64.b64encode(pem)[120:160]] = f"{what} (as in a Secret)"

    def found_in(self, content: bytes) -> set[str]:
        return {what for form, what in self.forms.items() if form in content}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    gateway = f"gateways:\n  ingressgateway: {{ports: [{{port: 443, listen: {free_port()}}}]}}\n"
    with running_mesh("explicit", ECHO + gateway) as mesh:
        yield mesh


def test_no_secret_is_where_it_can_be_read(mesh: Mesh) -> None:
    secrets, said = Secrets(), b""
    pair = Authority().pair("shop.test")
    secrets.add_key("the gateway's key", pair[1])
    token = mesh.marline("token", "create", "somebody").split()[-1]
    secrets.add("a bearer token", token.encode())

    said += mesh.apply(as_kubectl_applies(tls_secret(pair))).encode()
    said += mesh.apply(GATEWAY).encode()
    indented = "".join(f"  {line}\n" for line in pair[1].decode().splitlines())
    broken = MALFORMED % indented
    for text in (broken, tls_secret(pair).replace("tls.crt", "tls.cert"), broken + "more: ["):
        said += _outcome(mesh, "apply", "-f", "-", text=text)
        said += _outcome(mesh, "diff", "-f", "-", text=text)
        said += _outcome(mesh, "analyze", "-f", "-", text=text)
    said += _outcome(mesh, "diff", "-f", "-", text=tls_secret(Authority().pair("shop.test")))
    for command in (
        ("describe", "secret", "shop", "-n", "istio-system"), ("get", "secrets", "-A"), ("status",),
        ("proxy-config", "secret", "ingressgateway"), ("proxy-config", "secret", "client", "-o", "json"),
        ("proxy-config", "listener", "ingressgateway", "-o", "json"), ("analyze",), ("authn",),
        ("explain", "client", "echo"), ("proxy-status", "-o", "json"),
    ):  # fmt: skip
        said += _outcome(mesh, *command)
    assert mesh.caller("client").fetch("{ECHO_URL}/")[0]["status"] == 200
    before = mesh.control_plane_pid()
    said += _command_lines(mesh)
    _abort(mesh, before)

    for path in _files(mesh.home):
        _gather(secrets, path)
    known = set(secrets.forms.values())
    assert {"the gateway's key", "a bearer token", "ca.key", "root.key", "kubeconfig"} <= known
    assert not secrets.found_in(said)
    for path in _files(mesh.home):
        content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
        if path.suffix == ".log" or mode & 0o077:
            assert not secrets.found_in(content), path
            assert b"PRIVATE KEY" not in content, path


def as_kubectl_applies(text: str) -> str:
    """A client-side apply notes in an annotation what was given."""
    obj = yaml.safe_load(text)
    note = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(obj)}
    return yaml.safe_dump({**obj, "metadata": {**obj["metadata"], "annotations": note}})


def _outcome(mesh: Mesh, *arguments: str, text: str | None = None) -> bytes:
    """All that a command prints, also when it fails."""
    done = mesh.run(*arguments, text=text)
    return f"{done.stdout}{done.stderr}".encode()


def _command_lines(mesh: Mesh) -> bytes:
    """Of every process of the mesh."""
    found = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += (process / "cmdline").read_bytes() + b"\n"
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    assert str(mesh.home).encode() in found
    return found


def _abort(mesh: Mesh, pid: int) -> None:
    """Let the control plane die in the way in which it says most, and come back."""
    os.kill(pid, signal.SIGABRT)
    eventually(lambda: mesh.control_plane_pid() not in (0, pid), "the control plane is back", mesh.home)


def _files(home: Path) -> Iterator[Path]:
    return (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())


def _gather(secrets: Secrets, path: Path) -> None:
    """What a file that its owner alone may read holds."""
    content = path.read_bytes()
    if path.name == "kubeconfig":
        (user,) = yaml.safe_load(content)["users"]
        for name in {"client-key-data", "token"} & user["user"].keys():
            secrets.add("kubeconfig", user["user"][name].encode()[60:120])
    elif _KEY.search(content):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        secrets.add_key(path.name, content)
