"""Two trust domains: their workloads know one another, and neither can vouch for the other's."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from edge_certificates import Authority as WebAuthority
from identity_mesh import (
    CLIENT_ID,
    SERVER_ID,
    application,
    client_resources,
    proxied,
    server_resources,
    signer,
)
from static_mesh import free_port

from marline.identity.agent import FederatedRoots
from marline.identity.bundle_document import TrustBundle, write_bundle
from marline.identity.bundle_server import ENDPOINT_PATH, serve_bundle
from marline.identity.ca import Authority
from marline.identity.ca_home import open_home
from marline.identity.errors import BundleUnavailable
from marline.identity.federation import Federation
from marline.identity.federation_config import ShownBundle, TrustedDomain
from marline.mesh.mesh_tls import MeshPeers

PARTNER = "partner.example"
PARTNER_ID = f"spiffe://{PARTNER}/ns/default/sa/productpage"
BOTH = MeshPeers(trust_domains=("cluster.local", PARTNER))
ENDPOINT_ID = f"spiffe://{PARTNER}{ENDPOINT_PATH}"


def authorities(directory: Path) -> tuple[Authority, Authority]:
    now = time.time()
    return open_home(directory / "own", "cluster.local", now), open_home(directory / "partner", PARTNER, now)


async def ask(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
        return response.status, await response.text()


async def test_a_foreign_workload_is_known_by_its_own_identity_and_no_other(tmp_path: Path) -> None:
    own, partner = authorities(tmp_path)
    trusted = FederatedRoots()
    async with (
        application() as app,
        proxied(
            tmp_path / "server", server_resources(app, BOTH), SERVER_ID, signer(own, time.time), trusted
        ) as server,
    ):
        port = await server.envoy.listener_port("inbound")
        knows_server = FederatedRoots({"cluster.local": own.bundle_pem})

        async def called_by(name: str, spiffe_id: str) -> tuple[int, str]:
            """By a workload with a certificate of the partner's authority."""
            client = proxied(
                tmp_path / name, client_resources(port), spiffe_id, signer(partner, time.time), knows_server
            )
            async with client as running:
                return await ask(await running.envoy.listener_port("fresh"))

        assert (await called_by("stranger", PARTNER_ID))[0] == 503, "the bundle is not there yet"
        trusted.replace({PARTNER: partner.bundle_pem})
        status, seen = await called_by("known", PARTNER_ID)
        assert (status, seen.split(";")[-1]) == (200, f"URI={PARTNER_ID}")
        # Both trust domains are trusted now, and yet this authority's word for ours counts for nothing.
        assert (await called_by("impostor", CLIENT_ID))[0] == 503
        assert sum((await server.envoy.stats("ssl.fail_verify_error")).values()) > 0


@asynccontextmanager
async def endpoint(
    authority: Authority, bundle: TrustBundle, files: tuple[Path, Path] | None = None
) -> AsyncIterator[str]:
    """The URL; `files` of a certificate and its key make it one of `https_web`."""
    port = free_port()
    shown = ShownBundle(port)
    if files is not None:
        shown = ShownBundle(port, profile="https_web", certificate_file=str(files[0]), key_file=str(files[1]))
    async with serve_bundle(shown, lambda _: bundle, lambda: authority):
        yield f"https://localhost:{port}/"


def federation(directory: Path, url: str, **more: str) -> tuple[Federation, TrustedDomain]:
    item = TrustedDomain(PARTNER, url, **{"spiffe_id": ENDPOINT_ID, **more})  # type: ignore[arg-type]
    made = Federation((item,), directory / "federation")
    made.load()
    return made, item


async def test_a_bundle_is_fetched_from_an_endpoint_that_shows_its_identity(tmp_path: Path) -> None:
    own, partner = authorities(tmp_path)
    first = tmp_path / "partner.json"
    first.write_text(write_bundle(TrustBundle(PARTNER, partner.bundle_pem, sequence=1)))
    now = TrustBundle(PARTNER, partner.bundle_pem, sequence=2, refresh_hint=60)
    async with endpoint(partner, now) as url:
        made, item = federation(tmp_path, url, bundle_file=str(first))
        assert made.bundles[PARTNER].sequence == 1
        assert await made.fetch(item) == now
        again, _ = federation(tmp_path, url, bundle_file=str(first))
        assert again.bundles[PARTNER] == now, "the last good one is kept"
        other, item = federation(tmp_path, url, spiffe_id=f"spiffe://{PARTNER}/other", bundle_file=str(first))
        with pytest.raises(BundleUnavailable, match=f"the server is {ENDPOINT_ID}"):
            await other.fetch(item)
    async with endpoint(own, TrustBundle(PARTNER, own.bundle_pem)) as url:
        made, item = federation(tmp_path, url, bundle_file=str(first))
        with pytest.raises(BundleUnavailable, match="certificate verify failed"):
            await made.fetch(item)
        assert made.bundles[PARTNER] == now


async def test_a_web_endpoint_is_believed_if_the_machine_trusts_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, partner = authorities(tmp_path)
    now = TrustBundle(PARTNER, partner.bundle_pem, sequence=2)
    web_authority = WebAuthority("web")
    async with endpoint(partner, now, web_authority.issue("localhost").write(tmp_path)) as url:
        made, item = federation(tmp_path, url, profile="https_web", spiffe_id="")
        with pytest.raises(BundleUnavailable, match="certificate verify failed"):
            await made.fetch(item)
        (tmp_path / "web.pem").write_bytes(web_authority.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "web.pem"))
        assert await made.fetch(item) == now


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (302, "", "answers 302"),
        (200, "<html>", "not JSON"),
        (200, '{"keys": 1}', "expected an object with the list 'keys'"),
        (200, " " * 300_000, "more than 256 KiB"),
    ],
)
async def test_an_endpoint_that_answers_nonsense_changes_nothing(
    tmp_path: Path, status: int, text: str, reason: str
) -> None:
    authority = WebAuthority("web")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue("localhost").load_into(tls)
    (tmp_path / "web.pem").write_bytes(authority.pem)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "web.pem"))
            made, item = federation(tmp_path, f"https://localhost:{port}/", profile="https_web", spiffe_id="")
            with pytest.raises(BundleUnavailable, match=reason):
                await made.fetch(item)
            assert not made.bundles
    finally:
        await runner.cleanup()
