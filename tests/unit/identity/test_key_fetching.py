"""Key sets over HTTP: what a server may ask of the one who fetches is bounded."""

import asyncio
import datetime
import ipaddress
import json
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from key_servers import KEYS, Handler, issuer, says

from marline.api.security.jwks import MAX_BYTES
from marline.identity.jwks import KeysUnavailable, fetch_keys, key_client
from marline.identity.svid import key_pem, make_key
from marline.mesh.token_keys import DISCOVERY, KeySource


async def fetched(source: KeySource) -> str:
    async with key_client() as client:
        return (await fetch_keys(client, source)).document


async def fault(source: KeySource) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        await fetched(source)
    return str(caught.value)


async def test_a_key_set_is_fetched_also_after_redirects_on_the_same_host() -> None:
    pages = {"/a": says("", 302, Location="/b"), "/b": says("", 308, Location="keys"), "/keys": says(KEYS)}
    async with issuer(pages) as url:
        assert await fetched(KeySource(f"{url}/a")) == KEYS


async def test_no_redirect_leads_elsewhere_or_goes_on_for_ever() -> None:
    async with issuer({"/keys": says(KEYS)}) as other:
        pages = {
            "/other": says("", 302, Location=f"{other}/keys"),
            "/name": says("", 302, Location=other.replace("127.0.0.1", "localhost")),
            "/file": says("", 302, Location="file:///etc/passwd"),
            "/loop": says("", 302, Location="/loop"),
        }
        async with issuer(pages) as url:
            for path in ("other", "name", "file"):
                assert "another host" in await fault(KeySource(f"{url}/{path}")), path
            assert "more than 3 times" in await fault(KeySource(f"{url}/loop"))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (says(KEYS, 500), "answers 500"),
        (says(" " * (MAX_BYTES + 1)), "KiB"),
        (endless, "KiB"),
        (says(KEYS, Content_Encoding="gzip"), "encoding"),
        (says("<html>"), "is not JSON"),
        (says('{"keys": []}'), "no key"),
        (silent, "within 0.2 s"),
    ],
    ids=("error", "long", "endless", "compressed", "page", "empty", "silent"),
)
async def test_what_is_no_answer_is_told_and_costs_little(page: Handler, said: str) -> None:
    async with issuer({"/keys": page}) as url:
        assert said in await fault(KeySource(f"{url}/keys", timeout=0.2 if page is silent else 5.0))


async def test_a_server_that_is_not_there_is_told() -> None:
    async with issuer({}) as url:
        assert "answers 404" in await fault(KeySource(f"{url}/keys"))
    assert "cannot be fetched" in await fault(KeySource(f"{url}/keys"))


async def test_an_issuer_says_where_its_keys_are() -> None:
    pages = {"/keys": says(KEYS)}
    async with issuer(pages) as url:

        def configuration(**more: str) -> None:
            pages[f"/own{DISCOVERY}"] = says(json.dumps({"issuer": f"{url}/own", **more}))

        source = KeySource(f"{url}/own{DISCOVERY}", discovers=True)
        configuration(jwks_uri=f"{url}/keys")
        assert await fetched(source) == KEYS
        configuration(jwks_uri=f"{url}/keys", issuer=f"{url}/own/")
        assert await fetched(source) == KEYS
        configuration(jwks_uri=f"{url}/keys", issuer=f"{url}/other")
        assert "another issuer" in await fault(source)
        configuration()
        assert "does not say" in await fault(source)
        configuration(jwks_uri="http://keys.example.com/keys")
        assert "no https URL" in await fault(source)


async def test_over_tls_a_server_must_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    _make_server(certificate, key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    pages = {"/keys": says(KEYS), "/plain": says("", 302, Location="http://127.0.0.1/keys")}
    async with issuer(pages, tls) as url:
        assert "certificate verify failed" in await fault(KeySource(f"{url}/keys"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await fetched(KeySource(f"{url}/keys")) == KEYS
        assert "away from TLS" in await fault(KeySource(f"{url}/plain"))
        named = url.replace("127.0.0.1", "localhost")
        assert "certificate verify failed" in await fault(KeySource(f"{named}/keys"))


def _make_server(certificate: Path, key: Path) -> None:
    """Of 127.0.0.1, signed by itself."""
    made, now = make_key(), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(made, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_text(key_pem(made))
