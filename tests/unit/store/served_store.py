"""The embedded store behind its API server, in this process."""

from dataclasses import dataclass
from pathlib import Path

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
