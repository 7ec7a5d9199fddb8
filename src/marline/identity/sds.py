"""The SDS server of one proxy: its Envoy, and nobody else, gets its certificate, its key and its roots.

Envoy's configuration refers to it with `api_type: GRPC` and the cluster `sds-grpc` (`compile.tls`), so what
is served is `StreamSecrets`. Nothing of a connection is acted on before the kernel has said who made it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from marline.identity.grpc_wire import Status
from marline.identity.peers import Allowed, attest
from marline.identity.sds_session import InvalidRequest, SdsSession, Secrets
from marline.identity.svid import Svid
from marline.identity.trust_secrets import proxy_secrets
from marline.identity.unix_grpc import Reply, Stream, UnixGrpcServer

METHOD: Final = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"


class SdsServer(UnixGrpcServer):
    """Serves what was last published, at a Unix socket of mode 0600, within `async with`."""

    def __init__(self, path: Path, allowed: Allowed, told: Callable[[], None] = lambda: None) -> None:
        """`told` is called when there may be something new to say of `settled`."""
        super().__init__(path, 0o600, self._admit, _refuse)
        self.allowed, self.told = allowed, told
        self.secrets: Secrets = {}
        self._svid: Svid | None = None
        self._federated: Mapping[str, str] = {}

    @property
    def settled(self) -> bool:
        """Has the Envoy acknowledged all that it asks for? Whatever it asks for later is new."""
        return all(item.settled for item in self.streams() if isinstance(item, SdsStream))

    def publish(self, svid: Svid) -> None:
        """Give this identity to all who are connected and all who will be."""
        self._svid = svid
        self._make()

    def trust(self, federated: Mapping[str, str]) -> None:
        """Trust these roots of other trust domains, each for its own identities."""
        self._federated = federated
        self._make()

    def _make(self) -> None:
        if self._svid is not None:
            self.secrets = proxy_secrets(self._svid, self._federated)
            self.update()
            self.told()

    async def _admit(self, connection: Any) -> "_Envoy | None":
        return None if attest(connection, self.allowed) is None else _Envoy(self)


def _refuse(_path: str, _metadata: Mapping[str, str]) -> Reply:
    return Reply(status=Status.PERMISSION_DENIED, reason="only its own Envoy is served here")


class _Envoy:
    """The proxy whose secrets are served."""

    key = "envoy"

    def __init__(self, server: SdsServer) -> None:
        self._server = server

    def call(self, path: str, _metadata: Mapping[str, str]) -> Stream | Reply:
        if path != METHOD:
            return Reply(status=Status.UNIMPLEMENTED, reason="only StreamSecrets is served")
        return SdsStream(lambda: self._server.secrets, self._server.told)

    def leave(self) -> None:
        """What it had not acknowledged is no longer of interest."""
        self._server.told()


class SdsStream:
    """One call of `StreamSecrets`; `secrets` returns what its client is entitled to now."""

    ends_with_client = True

    def __init__(self, secrets: Callable[[], Secrets], told: Callable[[], None] = lambda: None) -> None:
        self._secrets, self._told = secrets, told
        self._session = SdsSession(secrets())

    def received(self, message: bytes) -> Reply:
        try:
            request = discovery_pb2.DiscoveryRequest.FromString(message)
            response = self._session.request(request)
        except (DecodeError, InvalidRequest) as error:
            return Reply(status=Status.INVALID_ARGUMENT, reason=str(error))
        self._told()
        return _reply(response)

    @property
    def settled(self) -> bool:
        return self._session.settled

    def update(self) -> Reply:
        return _reply(self._session.update(self._secrets()))


def _reply(response: discovery_pb2.DiscoveryResponse | None) -> Reply:
    return Reply() if response is None else Reply((response.SerializeToString(),))
