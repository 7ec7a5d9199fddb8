"""Who may connect to a server of a gateway: its TLS modes, and what it demands of clients' certificates."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives import serialization
from edge_certificates import Authority, Pair
from edge_mesh import (
    Edge,
    Refused,
    app,
    ask,
    edge,
    gateway,
    https_server,
    route,
    secret,
    tls_secret,
    trusting,
)
from routing_envoy import backend

HOST = "shop.example"


@asynccontextmanager
async def shop(tls: str, resources: str) -> AsyncIterator[Edge]:
    async with (
        backend("shop") as served,
        edge(
            app("shop", served.port) + resources + gateway(https_server(HOST, tls)) + route(HOST, "shop"), 443
        ) as made,
    ):
        yield made


@pytest.mark.proves(
    "networking.ServerTLSSettings.mode",
    "networking.ServerTLSSettings.credentialName",
    "networking.Server.tls",
)
async def test_simple_shows_the_servers_certificate_and_asks_for_none() -> None:
    servers, strangers = Authority("servers"), Authority("strangers")
    pair = servers.issue(HOST)
    async with shop("mode: SIMPLE, credentialName: shop", tls_secret("shop", pair)) as made:
        answer = await ask(made[443], HOST, trusting(servers.pem))
        assert (answer.status, answer.backend) == (200, "shop")
        assert answer.certificate == pair.parsed.public_bytes(serialization.Encoding.DER)
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(strangers.pem))


@pytest.mark.proves("networking.ServerTLSSettings.mode", "networking.ServerTLSSettings.credentialName")
@pytest.mark.parametrize("kept", ["in the Secret", "in a Secret of its own"])
async def test_mutual_demands_a_certificate_of_the_authority_that_goes_with_the_credential(kept: str) -> None:
    servers, clients, strangers = Authority("servers"), Authority("clients"), Authority("strangers")
    secrets = (
        tls_secret("shop", servers.issue(HOST), ca_crt=clients.pem)
        if kept == "in the Secret"
        else tls_secret("shop", servers.issue(HOST)) + secret("shop-cacert", cacert=clients.pem)
    )
    async with shop("mode: MUTUAL, credentialName: shop", secrets) as made:
        known = await ask(made[443], HOST, trusting(servers.pem, clients.issue("friend.example")))
        assert "friend.example" in known.body["headers"]["x-forwarded-client-cert"]
        for client in (None, strangers.issue("friend.example")):
            with pytest.raises(Refused):
                await ask(made[443], HOST, trusting(servers.pem, client))


@pytest.mark.proves("networking.ServerTLSSettings.mode")
async def test_optional_mutual_verifies_a_certificate_that_is_shown() -> None:
    servers, clients, strangers = Authority("servers"), Authority("clients"), Authority("strangers")
    secrets = tls_secret("shop", servers.issue(HOST), ca_crt=clients.pem)
    async with shop("mode: OPTIONAL_MUTUAL, credentialName: shop", secrets) as made:
        nobody = await ask(made[443], HOST, trusting(servers.pem))
        assert (nobody.status, "x-forwarded-client-cert" in nobody.body["headers"]) == (200, False)
        known = await ask(made[443], HOST, trusting(servers.pem, clients.issue("friend.example")))
        assert "friend.example" in known.body["headers"]["x-forwarded-client-cert"]
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(servers.pem, strangers.issue("friend.example")))


@pytest.mark.proves("networking.ServerTLSSettings.subjectAltNames")
async def test_clients_need_one_of_the_names_that_the_server_lists() -> None:
    servers, clients = Authority("servers"), Authority("clients")
    secrets = tls_secret("shop", servers.issue(HOST), ca_crt=clients.pem)
    tls = 'mode: MUTUAL, credentialName: shop, subjectAltNames: [friend.example, "spiffe://elsewhere/friend"]'
    async with shop(tls, secrets) as made:
        for name in ("friend.example", "spiffe://elsewhere/friend"):
            assert (await ask(made[443], HOST, trusting(servers.pem, clients.issue(name)))).status == 200
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(servers.pem, clients.issue("foe.example")))


def spki(pair: Pair) -> str:
    public = pair.parsed.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def fingerprint(pair: Pair) -> str:
    return hashlib.sha256(pair.parsed.public_bytes(serialization.Encoding.DER)).hexdigest()


@pytest.mark.proves(
    "networking.ServerTLSSettings.verifyCertificateSpki", "networking.ServerTLSSettings.verifyCertificateHash"
)
async def test_a_client_is_known_by_its_key_or_by_its_certificate() -> None:
    servers, clients = Authority("servers"), Authority("clients")
    by_key, by_certificate, other = (clients.issue("client.example") for _ in range(3))
    secrets = tls_secret("shop", servers.issue(HOST), ca_crt=clients.pem)
    tls = (
        f"mode: MUTUAL, credentialName: shop, verifyCertificateSpki: ['{spki(by_key)}'], "
        f"verifyCertificateHash: ['{fingerprint(by_certificate)}']"
    )
    async with shop(tls, secrets) as made:
        for client in (by_key, by_certificate):
            assert (await ask(made[443], HOST, trusting(servers.pem, client))).status == 200
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(servers.pem, other))


def config_map(name: str, authority: Authority) -> str:
    body = "".join(f"    {line}\n" for line in authority.pem.decode().splitlines())
    metadata = f"{{name: {name}, namespace: istio-system}}"
    return f"\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata:\n  ca.crt: |\n{body}"


@pytest.mark.proves("networking.ServerTLSSettings.caCertCredentialName")
@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
async def test_the_authority_of_clients_may_be_named_apart_from_the_certificate(kind: str) -> None:
    servers, clients, others = Authority("servers"), Authority("clients"), Authority("others")
    named = secret("clients", ca_crt=clients.pem) if kind == "Secret" else config_map("clients", clients)
    secrets = tls_secret("shop", servers.issue(HOST), ca_crt=others.pem) + named
    async with shop("mode: MUTUAL, credentialName: shop, caCertCredentialName: clients", secrets) as made:
        assert (await ask(made[443], HOST, trusting(servers.pem, clients.issue("a.example")))).status == 200
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(servers.pem, others.issue("a.example")))


@pytest.mark.proves("networking.ServerTLSSettings.credentialName")
async def test_a_certificate_that_is_in_the_secrets_revocation_list_is_refused() -> None:
    servers, clients = Authority("servers"), Authority("clients")
    good, bad = clients.issue("good.example"), clients.issue("bad.example")
    secrets = tls_secret("shop", servers.issue(HOST), ca_crt=clients.pem, ca_crl=clients.revoke(bad))
    async with shop("mode: MUTUAL, credentialName: shop", secrets) as made:
        assert (await ask(made[443], HOST, trusting(servers.pem, good))).status == 200
        with pytest.raises(Refused):
            await ask(made[443], HOST, trusting(servers.pem, bad))
