"""Two meshes of different trust domains: each knows the other's workloads, by their own names."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cli_process import leftovers, marline
from running_mesh import APPS, ECHO, Mesh, eventually, free_port

from marline.identity.bundle_document import TrustBundle, write_bundle
from marline.identity.bundle_server import ENDPOINT_PATH
from marline.identity.ca_home import open_home
from marline.node.home import Home

OWN, PARTNER = "cluster.local", "partner.example"
CLIENT = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: ["echo.remote:9080"]
"""
REMOTE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: remote}
spec:
  hosts: [echo.remote]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{name: http, number: 9080, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: remote}
spec:
  host: echo.remote
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://cluster.local/ns/default/sa/echo"]}
"""
ONLY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only}
spec:
  rules: [{from: [{source: {principals: ["%s"]}}]}]
"""
MINT = (
    "from spiffe import WorkloadApiClient as Api;"
    "print(Api(default_timeout=10).fetch_jwt_svid({'ledger'}).token)"
)
VALIDATE = (
    "import sys; from spiffe import WorkloadApiClient as Api;"
    "print(Api(default_timeout=10).validate_jwt_svid(sys.argv[1], 'ledger').spiffe_id)"
)


def configure(home: Path, own: str, port: int, other: Path, trusted: str, its_port: int) -> None:
    """As two administrators would, who have given each other the first bundle by hand."""
    partner = {
        "trustDomain": trusted,
        "url": f"https://127.0.0.1:{its_port}/",
        "spiffeId": f"spiffe://{trusted}{ENDPOINT_PATH}",
        "bundleFile": str(other / "bundle.json"),
    }
    config = {
        "meshId": f"{port:06x}"[-6:],
        "trustDomain": own,
        "bundleEndpoint": {"port": port},
        "federatesWith": [partner],
    }
    (home / "mesh.json").write_text(json.dumps(config))
    roots = open_home(Home(home).ca, own, time.time()).bundle_pem
    (home / "bundle.json").write_text(write_bundle(TrustBundle(own, roots)))


@contextmanager
def started(home: Path, application: str) -> Iterator[Mesh]:
    text = application.replace("{apps}", str(APPS)).replace("{python}", sys.executable)
    (home / "application.yaml").write_text(text.replace("{home}", str(home)))
    mesh = Mesh(home, "explicit")
    try:
        mesh.marline("up", "-f", str(home / "application.yaml"), "--capture", "explicit")
        yield mesh
    finally:
        mesh.run("down")
        left = leftovers(home)
        shutil.rmtree(home)
        assert not left


@pytest.fixture(scope="module")
def meshes() -> Iterator[tuple[Mesh, Mesh]]:
    own, partner = (Path(tempfile.mkdtemp(prefix="mrl-")) for _ in range(2))
    ports = free_port(), free_port()
    configure(own, OWN, ports[0], partner, PARTNER, ports[1])
    configure(partner, PARTNER, ports[1], own, OWN, ports[0])
    with ExitStack() as stack:
        yield stack.enter_context(started(own, ECHO)), stack.enter_context(started(partner, CLIENT))


def test_a_workload_of_the_other_mesh_calls_and_is_authorized_by_its_own_name(
    meshes: tuple[Mesh, Mesh],
) -> None:
    own, partner = meshes
    partner.apply(REMOTE % own.workload("echo", "v1")["ports"]["http"])

    def status() -> int:
        return int(partner.caller("client").fetch("{ECHO_URL}/")[0]["status"])

    eventually(lambda: status() == 200, "the bundles are there", own.home)
    # Connections that are open end one after the other when the policy is another.
    own.apply(ONLY % "cluster.local/ns/default/sa/client")
    eventually(lambda: status() == 403, "its name in our trust domain is another's", own.home)
    own.apply(ONLY % "partner.example/ns/default/sa/client")
    eventually(lambda: status() == 200, "its own name is allowed", own.home)


def test_a_token_of_the_other_mesh_is_validated_by_the_bundle_that_was_fetched(
    meshes: tuple[Mesh, Mesh],
) -> None:
    own, partner = meshes
    made = marline(partner.home, "run", "--service", "job", "--", sys.executable, "-c", MINT)
    assert made.code == 0, made.err
    known = ("run", "--service", "job", "--", sys.executable, "-c", VALIDATE, made.out.strip())

    def read() -> tuple[int, str]:
        checked = marline(own.home, *known)
        return checked.code, checked.out.strip()

    wanted = (0, "spiffe://partner.example/ns/default/sa/job")
    eventually(lambda: read() == wanted, "the other mesh's keys have come", own.home)
