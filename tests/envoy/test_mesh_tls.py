"""What proxies agree on when they connect to each other: versions and key exchanges of TLS."""

import asyncio
import ssl
from pathlib import Path

import pytest
from routing_envoy import RunningEnvoy
from static_mesh import mesh_authority
from test_core_mtls import CLIENT_ID, get, pair

MESH_CONFIG = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '%s'}
"""


async def agreed(envoy: RunningEnvoy) -> set[str]:
    """The versions, key exchanges and ciphers of an Envoy's connections so far."""
    lines = (await envoy.admin("/stats?filter=ssl.(versions|curves|ciphers)&usedonly")).splitlines()
    return {line.rpartition(".ssl.")[2].split(": ")[0].partition(".")[2] for line in lines}


def client(directory: Path, *, most: ssl.TLSVersion, curve: str) -> ssl.SSLContext:
    """A client with an identity of the mesh that offers no more than this."""
    chain, key = mesh_authority().svid(CLIENT_ID)
    (directory / "svid.pem").write_text(chain + key)
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.load_cert_chain(directory / "svid.pem")
    made.maximum_version = most
    made.set_ecdh_curve(curve)
    return made


async def is_accepted(port: int, offered: ssl.SSLContext) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=offered)
        writer.write(b"GET / HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return False
    return answer.startswith(b"HTTP/1.1 200")


@pytest.mark.proves("mesh_config.MeshConfig.compliancePolicy")
async def test_proxies_agree_on_tls_1_3_and_the_post_quantum_key_exchange(tmp_path: Path) -> None:
    async with pair() as mesh:
        assert (await get(mesh.url))[0] == 200
        assert {"TLSv1.3", "X25519MLKEM768"} <= await agreed(mesh.client)
        port = int(mesh.inbound.rpartition(":")[2])
        older = client(tmp_path, most=ssl.TLSVersion.TLSv1_2, curve="prime256v1")
        without = client(tmp_path, most=ssl.TLSVersion.TLSv1_3, curve="prime256v1")
        assert not await is_accepted(port, older)
        assert await is_accepted(port, without)


@pytest.mark.proves("mesh_config.MeshConfig.compliancePolicy")
async def test_under_fips_there_are_curves_and_ciphers_of_nist_only(tmp_path: Path) -> None:
    async with pair(rules=MESH_CONFIG % "compliancePolicy: fips-140-2") as mesh:
        assert (await get(mesh.url))[0] == 200
        found = await agreed(mesh.client)
        assert {"TLSv1.3", "P-256"} <= found
        assert not any("CHACHA20" in item or "X25519" in item for item in found)
        port = int(mesh.inbound.rpartition(":")[2])
        newest = ssl.TLSVersion.TLSv1_3
        assert await is_accepted(port, client(tmp_path, most=newest, curve="secp384r1"))
        assert not await is_accepted(port, client(tmp_path, most=newest, curve="X25519"))
        assert await is_accepted(port, client(tmp_path, most=ssl.TLSVersion.TLSv1_2, curve="prime256v1"))


@pytest.mark.proves("mesh_config.MeshConfig.compliancePolicy")
async def test_with_post_quantum_only_nobody_without_it_is_let_in(tmp_path: Path) -> None:
    async with pair(rules=MESH_CONFIG % "compliancePolicy: pqc") as mesh:
        assert (await get(mesh.url))[0] == 200
        assert "X25519MLKEM768" in await agreed(mesh.client)
        port = int(mesh.inbound.rpartition(":")[2])
        without = client(tmp_path, most=ssl.TLSVersion.TLSv1_3, curve="X25519")
        assert not await is_accepted(port, without)


@pytest.mark.proves("mesh_config.MeshConfig.meshMTLS", "mesh_config.MeshTLS.minProtocolVersion")
async def test_older_peers_are_let_in_where_the_mesh_says_so(tmp_path: Path) -> None:
    async with pair(rules=MESH_CONFIG % "meshMTLS: {minProtocolVersion: TLSV1_2}") as mesh:
        port = int(mesh.inbound.rpartition(":")[2])
        assert await is_accepted(port, client(tmp_path, most=ssl.TLSVersion.TLSv1_2, curve="prime256v1"))
