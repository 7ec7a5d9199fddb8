"""Key sets of token issuers, fetched over HTTP.

Whoever answers is a stranger: what it may cost is bounded, in time, bytes and redirects, and no redirect
leads to another host or away from TLS (OpenID Connect Discovery 1.0, section 4; RFC 7517).
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp

from marline.api.security.jwks import MAX_BYTES, KeySet, MalformedKeys, read_keys, read_object
from marline.api.security.request_authentication import is_loopback
from marline.identity.errors import IdentityError
from marline.mesh.token_keys import DISCOVERY, KeySource

_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CONNECTIONS: Final = 64
_CONNECTIONS_TO_ONE_HOST: Final = 4
"""So that one slow issuer does not keep others waiting."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(eq=False)
class KeysUnavailable(IdentityError):
    """A key set could not be had, or is of no use."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"{self.url} {self.reason}"


def key_client() -> aiohttp.ClientSession:
    """An HTTP client for key sets. It trusts whom the machine trusts (OpenSSL's `SSL_CERT_FILE` counts)."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_CONNECTIONS, limit_per_host=_CONNECTIONS_TO_ONE_HOST, ssl=ssl.create_default_context()
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "marline"},
        auto_decompress=False,
    )


async def fetch_keys(client: aiohttp.ClientSession, source: KeySource) -> KeySet:
    """The key set of a source. Raises `KeysUnavailable`."""
    url = source.url
    try:
        async with asyncio.timeout(source.timeout):
            if source.discovers:
                url = await _discovered(client, source.url)
            return read_keys(await _body(client, url))
    except MalformedKeys as error:
        raise KeysUnavailable(url, str(error)) from error
    except TimeoutError as error:
        raise KeysUnavailable(url, f"did not answer within {source.timeout:g} s") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise KeysUnavailable(url, f"cannot be fetched: {error}") from error


async def _discovered(client: aiohttp.ClientSession, url: str) -> str:
    """Where an issuer's OpenID configuration says that its keys are. Raises as `fetch_keys`."""
    said = read_object(await _body(client, url))
    issuer = url.removesuffix(DISCOVERY)
    if str(said.get("issuer", "")).rstrip("/") != issuer:
        raise KeysUnavailable(url, f"is of another issuer than {issuer}")
    found = said.get("jwks_uri")
    if not isinstance(found, str):
        raise KeysUnavailable(url, "does not say where the keys are (jwks_uri)")
    parts = urlsplit(found)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise KeysUnavailable(url, f"says that the keys are at {found[:200]!r}, which is no https URL")
    return found


async def _body(client: aiohttp.ClientSession, url: str) -> bytes:
    """What a URL has, after redirects. Raises as `fetch_keys`."""
    for _ in range(_MAX_REDIRECTS + 1):
        async with client.get(url, allow_redirects=False) as response:
            if response.status not in _REDIRECTS:
                return await _content(response, url)
            target = urljoin(url, response.headers.get("Location", ""))
            if not _may_follow(urlsplit(url), urlsplit(target)):
                raise KeysUnavailable(url, f"redirects to {target[:200]}: another host, or away from TLS")
            url = target
    raise KeysUnavailable(url, f"redirects more than {_MAX_REDIRECTS} times")


def _may_follow(origin: SplitResult, target: SplitResult) -> bool:
    """To the same server, or to its TLS."""
    if origin.hostname != target.hostname or target.scheme not in _DEFAULT_PORTS:
        return False
    if origin.scheme == target.scheme:
        return _port(origin) == _port(target)
    return target.scheme == "https" and _port(target) == _DEFAULT_PORTS["https"]


def _port(url: SplitResult) -> int:
    return url.port or _DEFAULT_PORTS.get(url.scheme, 0)


async def _content(response: aiohttp.ClientResponse, url: str) -> bytes:
    if response.status != 200:
        raise KeysUnavailable(url, f"answers {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise KeysUnavailable(url, "answers in an encoding that was not asked for")
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > MAX_BYTES:
            raise KeysUnavailable(url, f"answers more than {MAX_BYTES // 1024} KiB")
    return bytes(content)
