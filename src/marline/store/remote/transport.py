"""HTTP with an API server: one request, one answer or one error."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec

from marline.api.resource import Ref
from marline.store.interface import Unavailable
from marline.store.remote.kubeconfig import Connection
from marline.store.status import from_status

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has answered; the status is below 400."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """Raises `Unavailable` if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise Unavailable(f"the server's answer is not JSON: {error}") from error


class Transport:
    """Connections to one server, kept open. Raises `StoreError`s and `InvalidResource`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"User-Agent": "marline", "Accept": JSON}
            if self.connection.token:
                headers["Authorization"] = f"Bearer {self.connection.token}"
            tls = self.connection.tls
            self._session = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(ssl=tls if tls else True, limit=0, keepalive_timeout=60),
                trust_env=False,
                max_line_size=65536,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        name = self.connection.tls_server_name
        try:
            async with self._open().request(
                method,
                self.connection.server + path,
                params=dict(params),
                headers=dict(headers),
                data=body,
                timeout=timeout,
                server_hostname=name or None,
                allow_redirects=False,
            ) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"cannot reach the API server at {self.connection.server}: {reason}") from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        ref: Ref | None = None,
    ) -> Answer:
        """Send one request. `body` is encoded as JSON unless it is bytes; `ref` is what it is about, for
        the error."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        payload = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        timeout = aiohttp.ClientTimeout(total=_SECONDS, sock_connect=_CONNECT_SECONDS)
        async with self._send(
            method, path, params=params or {}, headers=headers, body=payload, timeout=timeout
        ) as response:
            content = await response.read()
            if response.status >= 400:
                raise failure(response.status, content, ref)
            return Answer(response.status, response.content_type, content)

    async def lines(
        self, path: str, params: Mapping[str, str], *, silence: float, accept: str = JSON
    ) -> AsyncIterator[bytes]:
        """The lines of a streamed answer. Raises `Unavailable` after `silence` seconds without one."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        async with self._send(
            "GET", path, params=params, headers={"Accept": accept}, body=None, timeout=timeout
        ) as response:
            if response.status >= 400:
                raise failure(response.status, await response.read(), None)
            rest = b""
            # Not readline(), which limits how long a line may be: a line holds a whole object.
            async for chunk in response.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line:
                        yield line


def failure(code: int, body: bytes, ref: Ref | None) -> Exception:
    """The error that an answer says."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        decoded = {}
    return from_status(decoded if isinstance(decoded, dict) else {}, code, ref)
