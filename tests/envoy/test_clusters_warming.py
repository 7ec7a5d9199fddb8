"""What a cluster waits for holds up nothing else: a name that nobody resolves, a Secret that is not there."""

import asyncio
import base64
from pathlib import Path

import pytest
from ads_mesh import PATIENCE, SUBSETS, Mesh, endpoint, resource, running_mesh, weights
from dns_server import dns_server
from tls_servers import WebAuthority, https_server


async def follows_changes(mesh: Mesh) -> None:
    """A change that comes after is acknowledged, and acted on."""
    await mesh.plane.put(resource(SUBSETS), endpoint("v2", mesh.v2.port), weights(v2=100))
    async with asyncio.timeout(PATIENCE / 2):
        await mesh.plane.settled()
    assert await mesh.client.get() == (200, "v2")


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN"])
async def test_a_name_that_is_never_resolved_holds_up_nothing(resolution: str) -> None:
    entry = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: never, namespace: default}}
spec:
  hosts: [never.example.com]
  resolution: {resolution}
  ports: [{{number: 80, name: http, protocol: HTTP}}]
"""
    async with (
        dns_server(None) as resolver,
        running_mesh(typed_dns_resolver_config=resolver) as mesh,
    ):
        await mesh.plane.put(resource(entry))
        await follows_changes(mesh)
        await mesh.plane.remove(resource(entry).ref)
        await mesh.plane.settled()


WEB = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: default}
spec:
  hosts: [web.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web.example.com
  workloadSelector: {matchLabels: {app: productpage}}
  trafficPolicy: {tls: {mode: SIMPLE, credentialName: web}}
"""


@pytest.mark.proves("networking.ClientTLSSettings.credentialName")
async def test_a_missing_secret_fails_its_own_connections_only_until_it_comes(tmp_path: Path) -> None:
    authority = WebAuthority()
    data = f"{{ca.crt: {base64.b64encode(authority.certificate).decode()}}}"
    ca = resource(
        f"{{apiVersion: v1, kind: Secret, metadata: {{name: web, namespace: default}}, data: {data}}}"
    )
    async with https_server(tmp_path, authority.issue("web.example.com")) as server, running_mesh() as mesh:

        async def status() -> int:
            client = mesh.client
            async with client.session.get("http://web.example.com/", proxy=client.proxy) as response:
                return response.status

        await mesh.plane.put(resource(WEB % server.port), resource(RULE))
        await follows_changes(mesh)
        assert await status() == 503
        await mesh.plane.put(ca)
        await mesh.plane.settled()
        async with asyncio.timeout(PATIENCE):
            while await status() != 200:
                pass
