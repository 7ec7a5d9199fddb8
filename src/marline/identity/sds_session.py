"""One SDS stream, without I/O: discovery requests and secrets in, discovery responses out.

State-of-the-world xDS (Envoy documentation, "xDS REST and gRPC protocol"). Every response has all secrets
that are asked for and exist. Only one response is under way at a time: what changes meanwhile is sent,
in its newest form, once that one is acknowledged or refused.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from marline.compile.resource import SECRET
from marline.compile.tls import BUNDLE_SECRET, SVID_SECRET

MAX_NAMES: Final = 64

_log = logging.getLogger(__name__)

Secrets = Mapping[str, bytes]
"""Serialised Envoy `Secret`s by name."""


class InvalidRequest(Exception):
    """A discovery request that this stream cannot answer."""


@dataclass(slots=True)
class SdsSession:
    """The state of one stream."""

    secrets: Secrets = field(default_factory=dict, repr=False)
    names: frozenset[str] = frozenset()
    _sent: dict[str, bytes] = field(default_factory=dict, repr=False)
    _responses: int = 0
    _awaiting: bool = False
    _refused: bool = False
    """What was sent last is not in use."""

    @property
    def settled(self) -> bool:
        """Has the client acknowledged the newest of all that it asks for?"""
        newest = {name: self.secrets[name] for name in self.names if name in self.secrets}
        return not self._awaiting and not self._refused and newest == self._sent

    def request(self, request: Any) -> Any | None:
        """A `DiscoveryRequest`; the response that is due, if any. Raises `InvalidRequest`."""
        if request.type_url not in ("", SECRET):
            raise InvalidRequest(f"only {SECRET} is served here, not {request.type_url[:200]}")
        if len(request.resource_names) > MAX_NAMES:
            raise InvalidRequest(f"at most {MAX_NAMES} secrets can be asked for")
        if request.response_nonce and request.response_nonce != str(self._responses):
            return None  # about an earlier response; what is said of the latest one counts
        self._refused = request.HasField("error_detail")
        if self._refused:
            _log.error("Envoy refused its secrets: %s", request.error_detail.message)
        self._awaiting = self._awaiting and not request.response_nonce
        names = frozenset(request.resource_names)
        for name in names - self.names - {SVID_SECRET, BUNDLE_SECRET, *self.secrets}:
            _log.warning("Envoy asks for a secret %r, which is not served", name[:200])
        self.names = names
        # What was dropped is sent again if it is asked for again.
        self._sent = {name: content for name, content in self._sent.items() if name in names}
        return self._due()

    def update(self, secrets: Secrets) -> Any | None:
        """There are new secrets; the response that is due, if any."""
        self.secrets = secrets
        return self._due()

    def _due(self) -> Any | None:
        wanted = {name: self.secrets[name] for name in sorted(self.names) if name in self.secrets}
        if self._awaiting or not wanted or wanted == self._sent:
            return None
        self._sent, self._awaiting = wanted, True
        self._responses += 1
        response = discovery_pb2.DiscoveryResponse(type_url=SECRET, nonce=str(self._responses))
        response.version_info = hashlib.blake2b(b"".join(wanted.values()), digest_size=8).hexdigest()
        for content in wanted.values():
            response.resources.add(type_url=SECRET, value=content)
        return response
