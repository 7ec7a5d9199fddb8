"""The bundles of other trust domains, fetched again and again (SPIFFE Federation, sections 4 and 5).

The last good bundle stays in use while its endpoint is away or answers nonsense, also from one control plane
to the next. Whoever answers is a stranger: what it may cost is bounded, and no redirect is followed.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from marline.api.security.jwks import MAX_BYTES
from marline.identity.bundle_document import TrustBundle, read_bundle, write_bundle
from marline.identity.errors import BundleUnavailable, InvalidBundle, InvalidFederation
from marline.identity.federation_config import SPIFFE, TrustedDomain
from marline.identity.files import PUBLIC, write_whole

FETCH_SECONDS: Final = 10.0
DEFAULT_REFRESH_SECONDS: Final = 300.0
"""Where a bundle does not say how often it is to be looked at again, as in SPIFFE Trust Domain and Bundle,
section 4.1.3: a low value such as five minutes."""
_MIN_REFRESH_SECONDS: Final = 5.0
_MAX_REFRESH_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 15.0

_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "marline"}

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Federation:
    """What is known of the trust domains that a mesh is federated with."""

    trusted: tuple[TrustedDomain, ...]
    directory: Path
    """Where the last good bundles are kept."""
    bundles: dict[str, TrustBundle] = field(default_factory=dict)

    def load(self) -> None:
        """Know what was known last, or what was given to begin with. Raises `InvalidFederation`."""
        for item in self.trusted:
            kept = self._file(item)
            path = kept if kept.exists() else Path(item.bundle_file) if item.bundle_file else None
            if path is None:
                continue
            try:
                self.bundles[item.trust_domain] = read_bundle(item.trust_domain, path.read_bytes())
            except OSError as error:
                raise InvalidFederation(str(path), f"cannot be read: {error.strerror}") from error
            except InvalidBundle as error:
                raise InvalidFederation(str(path), str(error)) from error

    async def run(self) -> None:
        """Keep all bundles current, for ever."""
        if not self.trusted:
            await asyncio.Event().wait()
        await asyncio.gather(*(self._follow(item) for item in self.trusted))

    async def _follow(self, item: TrustedDomain) -> None:
        failing = False
        while True:
            try:
                bundle = await self.fetch(item)
            except BundleUnavailable as error:
                if not failing:
                    _log.warning("the bundle of %s stays as it is: %s", item.trust_domain, error)
                failing = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                failing = False
                hint = bundle.refresh_hint or DEFAULT_REFRESH_SECONDS
                await asyncio.sleep(min(max(hint, _MIN_REFRESH_SECONDS), _MAX_REFRESH_SECONDS))

    async def fetch(self, item: TrustedDomain) -> TrustBundle:
        """Ask for a bundle once, and put it to use. Raises `BundleUnavailable`."""
        document = await fetch_document(item, self.bundles.get(item.trust_domain))
        try:
            bundle = read_bundle(item.trust_domain, document)
        except InvalidBundle as error:
            raise BundleUnavailable(item.url, str(error)) from error
        before = self.bundles.get(item.trust_domain)
        if before is not None and bundle.sequence < before.sequence:
            _log.warning("the bundle of %s has an earlier sequence number than before", item.trust_domain)
        if bundle != before:
            self.bundles[item.trust_domain] = bundle
            self._keep(item, bundle)
        return bundle

    def _keep(self, item: TrustedDomain, bundle: TrustBundle) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._file(item), write_bundle(bundle), PUBLIC)
        except OSError as error:  # it is in use all the same
            _log.warning("the bundle of %s cannot be kept: %s", item.trust_domain, error.strerror)

    def _file(self, item: TrustedDomain) -> Path:
        return self.directory / f"{item.trust_domain}.json"


async def fetch_document(item: TrustedDomain, known: TrustBundle | None) -> bytes:
    """What a bundle endpoint answers. `known`: with which one of `https_spiffe` is verified.

    Raises `BundleUnavailable`.
    """
    try:
        tls = ssl.create_default_context()
        if item.profile == SPIFFE:
            tls = _spiffe_context(item.spiffe_id, known)
        async with (
            asyncio.timeout(FETCH_SECONDS),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ) as client,
            client.get(item.url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise BundleUnavailable(item.url, f"answers {response.status}")
            content = bytearray()
            async for part in response.content.iter_any():
                content += part
                if len(content) > MAX_BYTES:
                    raise BundleUnavailable(item.url, f"answers more than {MAX_BYTES // 1024} KiB")
            return bytes(content)
    except TimeoutError as error:
        raise BundleUnavailable(item.url, f"did not answer within {FETCH_SECONDS:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise BundleUnavailable(item.url, f"cannot be fetched: {error}") from error


def _spiffe_context(spiffe_id: str, known: TrustBundle | None) -> ssl.SSLContext:
    """Verifies that a server is this identity, by the roots of its trust domain (X509-SVID, section 5)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # its name is its SPIFFE ID
    context.load_verify_locations(cadata=known.roots_pem if known else "")

    class Verified(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            names = _uris(self.getpeercert() or {})
            if names != [spiffe_id]:
                raise ssl.SSLCertVerificationError(f"the server is {', '.join(names)}, not {spiffe_id}")

    context.sslobject_class = Verified
    return context


def _uris(certificate: Mapping[str, Any]) -> list[str]:
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
