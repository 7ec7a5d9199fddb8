"""The authority of a running mesh: its root is changed without a failed request, an identity is revoked."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from running_mesh import ECHO, Mesh, eventually, running_mesh

EVERY_REQUEST_A_CONNECTION = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1, h2UpgradePolicy: UPGRADE}}}
"""
CALLERS = ECHO.replace(
    "  echo:\n",
    """  other:
    command: "{python} {apps}/caller.py {home}/other.sock"
    upstreams: [echo:9080, LINES=echo:9000]
  echo:
""",
)
RENEWAL_SECONDS = 10
"""How often certificates are replaced: at half of their life."""
LOAD_SECONDS = float(os.environ.get("MARLINE_RENEWAL_SECONDS", "20"))
"""How long that is watched under load; `make soak` takes five minutes."""
CLIENT = "spiffe://cluster.local/ns/default/sa/client"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with running_mesh("explicit", CALLERS, svidTtlSeconds=2 * RENEWAL_SECONDS) as running:
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
    assert found["proxies"] == 4


def serial(mesh: Mesh, version: str) -> str:
    """Of the certificate that an Envoy shows."""
    own = [item["cert_chain"] for item in json.loads(mesh.admin("echo", "/certs", version))["certificates"]]
    return str(next(chain[0]["serial_number"] for chain in own if chain))


@pytest.mark.timeout(LOAD_SECONDS + 60)
def test_no_request_fails_while_certificates_are_replaced_every_ten_seconds(mesh: Mesh) -> None:
    caller, seen, ends = mesh.caller("client"), set(), time.monotonic() + LOAD_SECONDS
    caller.begin("{ECHO_URL}/", concurrency=4, pause=0.02)
    while time.monotonic() < ends:
        seen.add(serial(mesh, "v1"))
        time.sleep(0.5)
    results = caller.end()
    failed = [item for item in results if item[0] != 200]
    print(f"{len(results)} requests, each on a connection of its own; {len(failed)} failed;"
          f" {len(seen)} certificates of one server in {LOAD_SECONDS:g} s")  # fmt: skip
    assert failed == []
    assert len(results) > 10 * LOAD_SECONDS
    assert len(seen) >= LOAD_SECONDS // RENEWAL_SECONDS


@pytest.fixture
def revoked(mesh: Mesh) -> Iterator[float]:
    """The client's identity is revoked; since when."""
    line = established(mesh, "client")
    assert said(line)
    mesh.caller("client").begin("{ECHO_URL}/?delay=25")
    mesh.marline("ca", "revoke", CLIENT, "--reason", "its key was seen elsewhere")
    since = time.monotonic()
    line.settimeout(20)
    assert line.recv(100) == b"", "the established connection goes on"
    line.close()
    yield time.monotonic() - since
    mesh.marline("ca", "reinstate", CLIENT)
    eventually(lambda: mesh.caller("client").fetch("{ECHO_URL}/")[0]["status"] == 200, "it may call again")


def established(mesh: Mesh, service: str) -> socket.socket:
    """A connection of a workload's application to echo's TCP port, through both proxies."""
    found = json.loads(mesh.admin(service, "/config_dump?resource=dynamic_listeners"))
    (port,) = {
        item["active_state"]["listener"]["address"]["socket_address"]["port_value"]
        for item in found["configs"]
        if "outbound|9000||echo" in json.dumps(item)
    }
    return socket.create_connection(("127.0.0.1", port))


def said(line: socket.socket) -> bytes:
    line.settimeout(10)
    line.sendall(b"hello\n")
    return line.recv(100)


@pytest.mark.proves("policy.RevokedIdentitySpec.spiffeId", "policy.RevokedIdentitySpec.reason")
def test_a_revoked_identity_is_accepted_no_more(mesh: Mesh, revoked: float) -> None:
    assert revoked < 8
    ended = [status for status, _ in mesh.caller("client").end()]
    assert 200 not in ended, "the request that was under way over HTTP/2 has gone on"
    assert [item["status"] for item in mesh.caller("client").fetch("{ECHO_URL}/", count=5)] == [503] * 5
    assert [item["status"] for item in mesh.caller("other").fetch("{ECHO_URL}/", count=5)] == [200] * 5
    log = "".join(path.read_text() for path in (mesh.home / "log").glob("echo*.envoy.log"))
    assert "TLS refused" in log
    assert CLIENT in mesh.marline("get", "revokedidentities")
