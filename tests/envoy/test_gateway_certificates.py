"""With which certificate, version and cipher a gateway serves: Secrets, files, several for one server."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from edge_certificates import Authority, Pair
from edge_mesh import (
    Refused,
    app,
    ask,
    edge,
    eventually,
    gateway,
    https_server,
    route,
    tls_secret,
    trusting,
)
from routing_envoy import backend

HOST = "shop.example"


def der(pair: Pair) -> bytes:
    return pair.parsed.public_bytes(serialization.Encoding.DER)


@pytest.mark.proves("networking.Server.hosts", "networking.GatewaySpec.servers")
async def test_each_server_of_a_port_has_its_certificate_and_a_broken_one_refuses() -> None:
    authority = Authority("test")
    one, two = authority.issue("one.example"), authority.issue("*.two.example")
    async with backend("shop") as shop:
        text = (
            app("shop", shop.port)
            + tls_secret("one", one)
            + tls_secret("two", two)
            + gateway(
                https_server("one.example", "mode: SIMPLE, credentialName: one")
                + https_server("*.two.example", "mode: SIMPLE, credentialName: two")
                + https_server("broken.example", "mode: SIMPLE, credentialName: none")
            )
            + route("*", "shop")
        )
        async with edge(text, 443) as made:
            for host, pair in (("one.example", one), ("a.two.example", two)):
                assert (await ask(made[443], host, trusting(authority.pem))).certificate == der(pair)
            for host in ("broken.example", "unknown.example"):
                with pytest.raises(Refused):
                    await ask(made[443], host, trusting(authority.pem))


@pytest.mark.proves("networking.ServerTLSSettings.credentialNames")
async def test_a_client_is_shown_the_certificate_of_the_kind_that_it_takes() -> None:
    authority = Authority("test")
    ecdsa, rsa = authority.issue(HOST), authority.issue(HOST, rsa_key=True)
    async with backend("shop") as shop:
        text = (
            app("shop", shop.port)
            + tls_secret("ecdsa", ecdsa)
            + tls_secret("rsa", rsa)
            + gateway(https_server(HOST, "mode: SIMPLE, credentialNames: [rsa, ecdsa]"))
            + route(HOST, "shop")
        )
        async with edge(text, 443) as made:
            await shows_each_its_own(made[443], authority, ecdsa, rsa)


async def shows_each_its_own(port: int, authority: Authority, ecdsa: Pair, rsa: Pair) -> None:
    old = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    for pair, cipher in ((ecdsa, "ECDHE-ECDSA-AES128-GCM-SHA256"), (rsa, "ECDHE-RSA-AES128-GCM-SHA256")):
        answer = await ask(port, HOST, trusting(authority.pem, versions=old, ciphers=cipher))
        assert (answer.certificate, answer.cipher) == (der(pair), cipher)


@pytest.mark.proves(
    "networking.ServerTLSSettings.tlsCertificates",
    "networking.TLSCertificate.serverCertificate",
    "networking.TLSCertificate.privateKey",
)
async def test_several_certificates_may_be_in_files(tmp_path: Path) -> None:
    authority = Authority("test")
    pairs = {"ecdsa": authority.issue(HOST), "rsa": authority.issue(HOST, rsa_key=True)}
    files = ", ".join(
        f"{{serverCertificate: {paths[0]}, privateKey: {paths[1]}}}"
        for paths in (pair.write(tmp_path, name) for name, pair in pairs.items())
    )
    async with backend("shop") as shop:
        server = https_server(HOST, f"mode: SIMPLE, tlsCertificates: [{files}]")
        async with edge(app("shop", shop.port) + gateway(server) + route(HOST, "shop"), 443) as made:
            await shows_each_its_own(made[443], authority, pairs["ecdsa"], pairs["rsa"])


@pytest.mark.proves(
    "networking.ServerTLSSettings.serverCertificate",
    "networking.ServerTLSSettings.privateKey",
    "networking.ServerTLSSettings.caCertificates",
    "networking.ServerTLSSettings.caCrl",
)
async def test_files_serve_as_secrets_do_and_are_read_again_when_they_are_replaced(tmp_path: Path) -> None:
    servers, clients, strangers = Authority("servers"), Authority("clients"), Authority("strangers")
    first, second = servers.issue(HOST), servers.issue(HOST)
    good, bad = clients.issue("good.example"), clients.issue("bad.example")
    (tmp_path / "ca.pem").write_bytes(clients.pem)
    (tmp_path / "crl.pem").write_bytes(clients.revoke(bad))
    certificate, key = first.write(tmp_path)
    tls = (
        f"mode: MUTUAL, serverCertificate: {certificate}, privateKey: {key}, "
        f"caCertificates: {tmp_path / 'ca.pem'}, caCrl: {tmp_path / 'crl.pem'}"
    )
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(https_server(HOST, tls)) + route(HOST, "shop")
        async with edge(text, 443) as made:
            known = trusting(servers.pem, good)
            assert (await ask(made[443], HOST, known)).certificate == der(first)
            for client in (None, bad, strangers.issue("good.example")):
                with pytest.raises(Refused):
                    await ask(made[443], HOST, trusting(servers.pem, client))
            second.write(tmp_path)

            async def shown() -> bytes:
                return (await ask(made[443], HOST, known)).certificate

            await eventually(shown, der(second))


async def test_files_that_are_missing_concern_their_own_server_and_are_told_to_its_gateway() -> None:
    authority = Authority("test")
    pair = authority.issue(HOST)
    files = "mode: SIMPLE, serverCertificate: /nowhere/a.pem, privateKey: /nowhere/a.key"
    async with backend("shop") as shop:
        text = app("shop", shop.port) + tls_secret("shop", pair) + route("*", "shop", gateways="edge, files")
        text += gateway(https_server(HOST, "mode: SIMPLE, credentialName: shop"))
        async with edge(text, 443) as made:
            assert (await ask(made[443], HOST, trusting(authority.pem))).status == 200
            await made.put(gateway(https_server("files.example", files), name="files"))
            with pytest.raises(Refused):
                await ask(made[443], "files.example", trusting(authority.pem))
            assert (await ask(made[443], HOST, trusting(authority.pem))).status == 200
        (refused,) = made.plane.heard.rejections
        assert [ref.name for ref in refused.sources] == ["files"]
        assert "/nowhere/" in refused.message


@pytest.mark.proves(
    "networking.ServerTLSSettings.minProtocolVersion",
    "networking.ServerTLSSettings.maxProtocolVersion",
    "networking.ServerTLSSettings.cipherSuites",
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
async def test_versions_and_ciphers_are_those_that_the_server_names() -> None:
    authority, version = Authority("test"), ssl.TLSVersion
    hosts = {"newest": "minProtocolVersion: TLSV1_3", "older": "maxProtocolVersion: TLSV1_2",
             "oldest": "minProtocolVersion: TLSV1_1, cipherSuites: [ECDHE-ECDSA-AES128-SHA]",
             "default": "", "chosen": "maxProtocolVersion: TLSV1_2, "
             "cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]"}  # fmt: skip
    text = route("*", "shop")
    servers = ""
    for name, tls in hosts.items():
        text += tls_secret(name, authority.issue(f"{name}.example"))
        servers += https_server(
            f"{name}.example", f"mode: SIMPLE, credentialName: {name}, {tls}".rstrip(", ")
        )
    async with backend("shop") as shop, edge(app("shop", shop.port) + text + gateway(servers), 443) as made:

        async def negotiated(name: str, least: ssl.TLSVersion, most: ssl.TLSVersion) -> str:
            client = trusting(authority.pem, versions=(least, most), ciphers="ALL:@SECLEVEL=0")
            try:
                answer = await ask(made[443], f"{name}.example", client)
            except Refused:
                return "refused"
            return answer.version if answer.version != "TLSv1.2" else f"{answer.version} {answer.cipher}"

        assert await negotiated("newest", version.TLSv1_2, version.TLSv1_2) == "refused"
        assert await negotiated("newest", version.TLSv1_2, version.TLSv1_3) == "TLSv1.3"
        assert await negotiated("older", version.TLSv1_3, version.TLSv1_3) == "refused"
        assert await negotiated("oldest", version.TLSv1_1, version.TLSv1_1) == "TLSv1.1"
        assert await negotiated("default", version.TLSv1_1, version.TLSv1_1) == "refused"
        chosen = await negotiated("chosen", version.TLSv1_2, version.TLSv1_3)
        assert chosen == "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"
