"""The endpoint at which other trust domains fetch this one's bundle (SPIFFE Federation, section 5)."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from marline.identity.bundle_document import TrustBundle, write_bundle
from marline.identity.ca import Authority
from marline.identity.errors import IdentityError, InvalidFederation
from marline.identity.federation_config import SPIFFE, ShownBundle
from marline.identity.spiffe import SpiffeId
from marline.identity.svid import key_pem, make_csr, make_key

ENDPOINT_PATH: Final = "/marline/bundle-endpoint"
"""Of the SPIFFE ID that the endpoint shows."""
_LIFE_SECONDS: Final = 3600.0
_IDLE_SECONDS: Final = 5.0
"""Who fetches a bundle comes back after minutes."""


@asynccontextmanager
async def serve_bundle(
    shown: ShownBundle, bundle: Callable[[float], TrustBundle], authority: Callable[[], Authority]
) -> AsyncIterator[int]:
    """Serve the bundle within this block, at `/` and nowhere else; yields the port.

    Raises `InvalidFederation`, `IdentityError`.
    """

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=write_bundle(bundle(time.time())), content_type="application/json")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    spiffe_id = SpiffeId(bundle(time.time()).trust_domain, ENDPOINT_PATH)
    _load(context, shown, spiffe_id, authority)
    application = web.Application(client_max_size=1024)
    application.router.add_get("/", answer)
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=_IDLE_SECONDS, shutdown_timeout=0.1
    )
    await runner.setup()
    renewing = asyncio.create_task(_renew(context, shown, spiffe_id, authority), name="bundle endpoint")
    try:
        site = web.TCPSite(runner, shown.address, shown.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise InvalidFederation("bundleEndpoint", f"cannot listen: {error.strerror}") from error
        yield shown.port
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await runner.cleanup()


async def _renew(
    context: ssl.SSLContext, shown: ShownBundle, spiffe_id: SpiffeId, authority: Callable[[], Authority]
) -> None:
    """Connections that are made from now on have the new certificate."""
    while True:
        await asyncio.sleep(_LIFE_SECONDS / 2)
        _load(context, shown, spiffe_id, authority)


def _load(
    context: ssl.SSLContext, shown: ShownBundle, spiffe_id: SpiffeId, authority: Callable[[], Authority]
) -> None:
    if shown.profile != SPIFFE:
        try:
            context.load_cert_chain(shown.certificate_file, shown.key_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidFederation("bundleEndpoint", f"its certificate cannot be used: {error}") from error
        return
    key = make_key()
    signed = authority().sign(make_csr(key), spiffe_id, _LIFE_SECONDS, time.time())
    # OpenSSL's binding in Python reads certificates from files only; this one is in memory.
    descriptor = os.memfd_create("bundle endpoint", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, (signed.chain_pem + key_pem(key)).encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (OSError, ssl.SSLError) as error:
        raise IdentityError(f"the bundle endpoint has no certificate: {error}") from error
    finally:
        os.close(descriptor)
