"""The embedded store behind its API server, in this process."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from marline.store.embedded.credentials import ApiCredentials, User, write_kubeconfig
from marline.store.embedded.server import RunningServer
from marline.store.embedded.store import EmbeddedStore
from marline.store.remote.client import RemoteStore
from marline.store.tokens import ADMINS


@dataclass
class Served:
    """A served store and how to reach it."""

    store: EmbeddedStore
    server: RunningServer
    credentials: ApiCredentials
    directory: Path

    def client(self, user: str = "admin", *groups: str) -> RemoteStore:
        path = self.directory / f"kubeconfig-{user}"
        pair = self.credentials.issue(User(user, groups or (ADMINS,)))
        address = f"https://127.0.0.1:{self.server.port}"
        write_kubeconfig(path, address, self.credentials.authority, pair)
        return RemoteStore.from_kubeconfig(path)

    async def ask(self, user: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        """What the server answers to a POST of this user with such headers; also if it refuses."""
        pair = self.credentials.issue(User(user))
        tls = ssl.create_default_context(cadata=self.credentials.authority.decode())
        pem = self.directory / "pair.pem"
        pem.write_bytes(pair.certificate + pair.key)
        tls.load_cert_chain(pem)
        url = f"https://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, ssl=tls, json=body) as response,
        ):
            return await response.json()
