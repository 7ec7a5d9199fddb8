"""The root of a running mesh is changed: no request fails, whatever is interrupted."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from running_mesh import ECHO, Mesh, eventually, running_mesh

EVERY_REQUEST_A_CONNECTION = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with running_mesh("explicit", ECHO) as running:
        running.apply(EVERY_REQUEST_A_CONNECTION)
        yield running


def status(mesh: Mesh) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mesh.marline("ca", "status", "-o", "json"))
    return found


def roots(mesh: Mesh) -> list[str]:
    return [item["fingerprint"] for item in status(mesh)["certificates"] if item["role"] == "root"]


def trusted(mesh: Mesh, service: str) -> set[str]:
    """The serial numbers of the roots that an Envoy trusts."""
    certificates = json.loads(mesh.admin(service, "/certs"))["certificates"]
    return {root["serial_number"] for item in certificates for root in item.get("ca_cert", [])}


def test_no_request_fails_while_the_root_is_changed(mesh: Mesh) -> None:
    before, caller = roots(mesh), mesh.caller("client")
    caller.begin("{ECHO_URL}/", concurrency=4)
    told = mesh.run("ca", "rotate-root")
    results = caller.end()
    assert told.returncode == 0, told.stderr
    after = roots(mesh)
    assert len(before) == len(after) == 1
    assert before != after
    assert told.stdout == f"the root is {after[0][:16]}\n"
    assert len(results) > 50
    assert [item for item in results if item[0] != 200] == []
    own = x509.load_pem_x509_certificate((mesh.home / "data" / "ca" / "root.pem").read_bytes())
    for service in ("client", "echo"):
        assert {int(serial, 16) for serial in trusted(mesh, service)} == {own.serial_number}


def test_a_change_goes_on_after_the_control_plane_was_killed(mesh: Mesh) -> None:
    before, caller = roots(mesh), mesh.caller("client")
    caller.begin("{ECHO_URL}/", concurrency=2)
    mesh.marline("ca", "rotate-root", "--no-wait")
    killed = mesh.control_plane_pid()
    os.kill(killed, signal.SIGKILL)
    again = "the control plane is started again"
    eventually(lambda: mesh.control_plane_pid() not in (0, killed), again, mesh.home)
    mesh.marline("ca", "rotate-root")
    assert [item for item in caller.end() if item[0] != 200] == []
    assert len(roots(mesh)) == 1
    assert roots(mesh) != before
    found = status(mesh)
    assert (found["rotation"], found["pending"], found["warnings"]) == (None, [], [])
    assert found["proxies"] == 3
