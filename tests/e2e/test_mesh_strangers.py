"""Who is not of the mesh gets no answer from a workload, in both capture modes."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_mesh import MODES, Mesh, eventually, running_mesh

from marline.identity import spiffe
from marline.identity.ca_home import open_home
from marline.identity.svid import key_pem, make_csr, make_key

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [echo:9080]
  echo:
    ports: [http:9080]
    command: "{python} {apps}/echo.py"
"""
REQUEST = b"GET /stranger HTTP/1.1\r\nhost: echo:9080\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, APPLICATION) as mesh:
        yield mesh


def door(mesh: Mesh) -> tuple[str, int]:
    """Where the workload's peers connect."""
    echo = mesh.workload("echo")
    return echo["address"], echo["ports"]["http"]


def refusals(mesh: Mesh) -> int:
    """Connections whose certificate the workload's Envoy found to be nobody's."""
    text = mesh.admin("echo", "/stats?filter=ssl.fail_verify_(error|no_cert)")
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines())


def stranger(directory: Path, spiffe_id: str) -> ssl.SSLContext:
    """A client with a certificate for this identity, of an authority that only calls itself the mesh's."""
    now = time.time()
    key = make_key()
    authority = open_home(directory / "ca", "cluster.local", now)
    signed = authority.sign(make_csr(key), spiffe.parse(spiffe_id), 3600, now)
    (directory / "chain.pem").write_text(signed.chain_pem)
    (directory / "key.pem").write_text(key_pem(key))
    return plain_tls(directory)


def plain_tls(directory: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if directory is not None:
        context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    return context


def answer(connection: socket.socket) -> bytes:
    """What is answered to a request, or b"" for a connection that is ended."""
    try:
        connection.sendall(REQUEST)
        return connection.recv(4096)
    except (ConnectionError, ssl.SSLError):
        return b""


def test_a_plain_text_call_is_refused(mesh: Mesh) -> None:
    with socket.create_connection(door(mesh), timeout=20) as connection:
        assert answer(connection) == b""
    assert_never_seen(mesh)


def test_a_client_without_certificate_is_refused(mesh: Mesh) -> None:
    before = refusals(mesh)
    with (
        socket.create_connection(door(mesh), timeout=20) as connection,
        plain_tls().wrap_socket(connection, server_hostname="echo") as encrypted,
    ):
        assert answer(encrypted) == b""
    eventually(lambda: refusals(mesh) == before + 1, "it is counted")
    assert_never_seen(mesh)


def test_a_client_with_a_certificate_of_another_authority_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    """Though it says that it is one whom the workload answers."""
    assert mesh.caller("client").versions("{ECHO_URL}/", count=1) == {"": 1}
    before = refusals(mesh)
    context = stranger(tmp_path, mesh.workload("client")["spiffeId"])
    with (
        socket.create_connection(door(mesh), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="echo") as encrypted,
    ):
        assert answer(encrypted) == b""
    eventually(lambda: refusals(mesh) == before + 1, "it is counted")
    assert_never_seen(mesh)


def assert_never_seen(mesh: Mesh) -> None:
    """The application has never been asked by a stranger."""
    seen = mesh.caller("client").fetch("{ECHO_URL}/seen")[0]["said"]["seen"]
    assert "/stranger" not in seen


def test_the_workloads_certificate_says_who_it_is(mesh: Mesh) -> None:
    with (
        socket.create_connection(door(mesh), timeout=20) as connection,
        plain_tls().wrap_socket(connection, server_hostname="echo") as encrypted,
    ):
        certificate = encrypted.getpeercert(binary_form=True)
    assert certificate is not None
    assert mesh.workload("echo")["spiffeId"].encode() in certificate
