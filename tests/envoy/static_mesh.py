"""Compiled views as static configurations of real Envoys: what ADS and SDS would send stands in a file."""

import datetime
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import json_format
from routing_envoy import RunningEnvoy, run_envoy

from marline.api.decode import decode
from marline.compile.catalog import compile_unit, units
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from marline.mesh.model import ChangeSet, MeshSettings, Proxy
from marline.mesh.snapshot import MeshSnapshot, advance, empty


def snapshot_of(text: str) -> MeshSnapshot:
    """A mesh from YAML documents."""
    changed = tuple(decode(item) for item in yaml.safe_load_all(text) if item)
    return advance(empty(MeshSettings()), ChangeSet(changed, (), "1"))[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Authority:
    """A CA and the certificates that it signs, as PEM."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def svid(self, spiffe_id: str) -> tuple[str, str]:
        """Certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)])
        made = _certificate("workload", key, self.certificate.subject).add_extension(names, critical=True)
        signed = made.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key)


def authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    made = _certificate("root", key, name)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(key, made.sign(key, hashes.SHA256()))


@cache
def mesh_authority() -> Authority:
    return authority()


def _certificate(name: str, key: Any, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def static_config(snapshot: MeshSnapshot, proxy: Proxy, identity: tuple[str, str], ca: str) -> dict[str, Any]:
    """`static_resources` of a proxy's whole view."""
    recipes = [recipe for unit in units(snapshot, proxy) for recipe in compile_unit(snapshot, proxy, unit)]
    made: dict[str, dict[str, Any]] = {
        kind: {} for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, SECRET)
    }
    for recipe in recipes:
        assert recipe.name not in made[recipe.type_url], f"two resources are named {recipe.name}"
        made[recipe.type_url][recipe.name] = json_format.MessageToDict(recipe.build(*recipe.inputs))
    for name, table in made[ROUTE].items():
        table.pop("vhds", None)
        hosts = [host for key, host in made[VIRTUAL_HOST].items() if key.startswith(f"{name}/")]
        table["virtualHosts"] = [*table.get("virtualHosts", []), *hosts]
    clusters = list(made[CLUSTER].values())
    for cluster in clusters:
        if cluster.pop("edsClusterConfig", None):
            cluster |= {"type": "STATIC", "loadAssignment": made[ENDPOINT][cluster["name"]]}
    return {
        "clusters": [_inlined(item, made[ROUTE]) for item in clusters],
        "listeners": [_inlined(item, made[ROUTE]) for item in made[LISTENER].values()],
        "secrets": [*_secrets(identity, ca), *made[SECRET].values()],
    }


def _inlined(value: Any, tables: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(item, tables) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _inlined(item, tables) for name, item in value.items() if name != "sdsConfig"}
    if "rds" in found:
        found["routeConfig"] = tables[found.pop("rds")["routeConfigName"]]
    return found


def _secrets(identity: tuple[str, str], ca: str) -> Iterable[dict[str, Any]]:
    certificate, key = identity
    pair = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
    yield {"name": "default", "tls_certificate": pair}
    yield {"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": ca}}}


@asynccontextmanager
async def envoy_for(
    snapshot: MeshSnapshot, proxy: Proxy, ca: Authority | None = None
) -> AsyncIterator[RunningEnvoy]:
    """A real Envoy that is this proxy. `ca`: who signed its certificate, if not the mesh."""
    workload = proxy.workloads[0]
    spiffe_id = f"spiffe://cluster.local/ns/{workload.namespace}/sa/{workload.service_account}"
    identity = (ca or mesh_authority()).svid(spiffe_id)
    async with run_envoy(static_config(snapshot, proxy, identity, mesh_authority().pem)) as running:
        yield running
