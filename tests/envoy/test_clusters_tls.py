"""TLS to servers outside the mesh: who is trusted, by which name, and what the client shows."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from called_service import called, rule
from tls_servers import HttpsServer, Issued, WebAuthority, https_server

NAME = "web.example.com"
SELECTED = ", workloadSelector: {matchLabels: {app: client}}"


@dataclass
class Web:
    """A CA, and the server with a certificate that it signed."""

    authority: WebAuthority
    issued: Issued
    server: HttpsServer
    directory: Path

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    @property
    def ca(self) -> Path:
        return self.authority.write(self.directory)

    async def status(
        self, tls: str, *more: str, scope: str = "", labels: dict[str, str] | None = None
    ) -> int:
        """What a request gets whose client's rule has this `tls`."""
        backends = {"a": {"ports": {"http": self.server.port}}}
        policy = rule(f"{{tls: {{{tls}}}}}", scope)
        async with called(backends, policy, *more, labels=labels) as mesh:
            return (await mesh.get())[0]


@asynccontextmanager
async def web(directory: Path, *, mutual: bool = False) -> AsyncIterator[Web]:
    authority = WebAuthority()
    issued = authority.issue(NAME)
    async with https_server(directory, issued, authority if mutual else None) as server:
        yield Web(authority, issued, server, directory)


def secret(name: str, **data: bytes) -> str:
    values = ", ".join(f"{key.replace('_', '.')}: {base64.b64encode(data[key]).decode()}" for key in data)
    metadata = f"{{name: {name}, namespace: default}}"
    return f"{{apiVersion: v1, kind: Secret, metadata: {metadata}, data: {{{values}}}}}"


@pytest.mark.proves(
    "networking.TrafficPolicy.tls",
    "networking.ClientTLSSettings.mode",
    "networking.ClientTLSSettings.caCertificates",
    "networking.ClientTLSSettings.sni",
)
async def test_a_server_is_asked_for_a_name_and_must_have_it(tmp_path: Path) -> None:
    async with web(tmp_path) as made:
        assert await made.status(f"mode: SIMPLE, caCertificates: {made.ca}, sni: {NAME}") == 200
        assert made.server.asked_for == [NAME]
        assert await made.status(f"mode: SIMPLE, caCertificates: {made.ca}, sni: other.example.com") == 503


async def test_without_a_ca_those_count_that_the_machine_trusts(tmp_path: Path) -> None:
    async with web(tmp_path) as made:
        assert await made.status(f"mode: SIMPLE, sni: {NAME}") == 503


@pytest.mark.proves("networking.ClientTLSSettings.subjectAltNames")
@pytest.mark.parametrize(
    ("names", "status"), [(f"[spiffe://a/b, {NAME}]", 200), ("[other.example.com]", 503)]
)
async def test_a_server_must_have_one_of_the_names_that_a_rule_lists(
    tmp_path: Path, names: str, status: int
) -> None:
    async with web(tmp_path) as made:
        tls = f"mode: SIMPLE, caCertificates: {made.ca}, sni: other.example.com, subjectAltNames: {names}"
        assert await made.status(tls) == status


@pytest.mark.proves("networking.ClientTLSSettings.insecureSkipVerify")
async def test_nothing_is_verified_where_a_rule_says_so(tmp_path: Path) -> None:
    async with web(tmp_path) as made:
        assert await made.status("mode: SIMPLE, insecureSkipVerify: true") == 200


@pytest.mark.proves("networking.ClientTLSSettings.caCrl")
@pytest.mark.parametrize("revoked", [False, True])
async def test_a_revoked_certificate_is_not_accepted(tmp_path: Path, revoked: bool) -> None:
    async with web(tmp_path) as made:
        listed = made.authority.revocations(*([made.issued.serial] if revoked else []))
        tls = f"mode: SIMPLE, sni: {NAME}, caCertificates: {made.ca}, caCrl: {made.file('crl.pem', listed)}"
        assert await made.status(tls) == (503 if revoked else 200)


@pytest.mark.proves(
    "networking.ClientTLSSettings.clientCertificate", "networking.ClientTLSSettings.privateKey"
)
async def test_a_client_shows_the_certificate_of_its_files(tmp_path: Path) -> None:
    async with web(tmp_path, mutual=True) as made:
        certificate, key = made.authority.issue("client.example.com").write(tmp_path, "client")
        files = f"clientCertificate: {certificate}, privateKey: {key}"
        assert await made.status(f"mode: MUTUAL, sni: {NAME}, caCertificates: {made.ca}, {files}") == 200
        assert made.server.clients == ["client.example.com"]
        assert await made.status(f"mode: SIMPLE, sni: {NAME}, caCertificates: {made.ca}") == 503


@pytest.mark.proves("networking.ClientTLSSettings.credentialName")
async def test_a_selected_client_shows_the_certificate_of_a_secret(tmp_path: Path) -> None:
    tls = f"mode: MUTUAL, sni: {NAME}, credentialName: client"
    async with web(tmp_path, mutual=True) as made:
        client = made.authority.issue("client.example.com")
        pair = {"tls_crt": client.certificate, "tls_key": client.key}
        together = secret("client", **pair, ca_crt=made.authority.certificate)
        apart = (secret("client", **pair), secret("client-cacert", ca_crt=made.authority.certificate))
        for secrets in ((together,), apart):
            status = await made.status(tls, *secrets, scope=SELECTED, labels={"app": "client"})
            assert status == 200
        assert made.server.clients == ["client.example.com"] * 2


async def test_the_ca_of_a_secret_vouches_for_the_server(tmp_path: Path) -> None:
    tls = f"mode: SIMPLE, sni: {NAME}, credentialName: web"
    async with web(tmp_path) as made:
        for authority, status in ((made.authority, 200), (WebAuthority(), 503)):
            ca = secret("web-cacert", ca_crt=authority.certificate)
            assert await made.status(tls, ca, scope=SELECTED, labels={"app": "client"}) == status


async def test_without_a_selector_no_secret_reaches_a_sidecar(tmp_path: Path) -> None:
    async with web(tmp_path) as made:
        ca = secret("web-cacert", ca_crt=made.authority.certificate)
        assert await made.status(f"mode: SIMPLE, sni: {NAME}, credentialName: web", ca) == 503
