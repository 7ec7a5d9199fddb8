"""Telling the mesh what runs here: `WorkloadEntry`, its health, and the `Service` in front of it.

Each registration is a desired state and one task that makes it true: it writes what differs, waits while the
control plane is away, and registers again what somebody else removed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from marline.api.core import ServiceSpec
from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.mesh.endpoints import MANAGED_BY
from marline.node.errors import NodeError
from marline.store.interface import AlreadyExists, NotFound, ResourceStore, StoreError, Unavailable

FIELD_MANAGER: Final = "marline-node"
WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class RegistrationRefused(NodeError):
    """The control plane does not take this workload."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} cannot be registered: {self.reason}"


@dataclass(frozen=True, slots=True)
class Health:
    """The `Healthy` condition to be written."""

    healthy: bool
    reason: str
    message: str = ""

    def condition(self, now: datetime) -> dict[str, Any]:
        return {
            "type": "Healthy",
            "status": "True" if self.healthy else "False",
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@dataclass(slots=True)
class Registration:
    """One workload's entry, kept true until `withdraw`."""

    store: ResourceStore
    entry: dict[str, Any]
    service: dict[str, Any] | None
    clock: Callable[[], datetime]
    health: Health = Health(False, "Starting")
    _written: Health | None = None
    """The health that the entry has; None: there is no entry."""
    version: str = ""
    """The resourceVersion of that."""
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _clean: asyncio.Event = field(default_factory=asyncio.Event)
    refused: RegistrationRefused | None = None
    task: asyncio.Task[None] | None = None
    told: Callable[[bool], None] = lambda healthy: None
    """Called when the mesh has been told of a change of health."""

    @property
    def ref(self) -> Ref:
        metadata = self.entry["metadata"]
        return Ref(*WORKLOAD_ENTRY, metadata["namespace"], metadata["name"])

    def set_health(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self.disturbed()

    def vanished(self) -> None:
        """Somebody removed the entry."""
        self._written = None
        self.disturbed()

    def disturbed(self) -> None:
        self._clean.clear()
        self._dirty.set()

    async def settled(self) -> None:
        """Until what is written is what is wanted. Raises `RegistrationRefused`."""
        await self._clean.wait()
        if self.refused is not None:
            raise self.refused

    async def keep(self) -> None:
        """Make it true, for ever."""
        pause = _FIRST_PAUSE
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._write()
                pause = _FIRST_PAUSE
            except (Unavailable, TimeoutError) as error:
                _log.info("%s waits for the control plane: %s", self.ref, error)
                self._dirty.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except (StoreError, InvalidResource) as error:
                self._refuse(RegistrationRefused(str(self.ref), str(error)))
                # What it was refused for may pass, such as the end of a namespace of this name.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_PAUSE):
                        await self._dirty.wait()
                self._dirty.set()
                continue
            if not self._dirty.is_set():
                self._clean.set()

    def _refuse(self, refused: RegistrationRefused) -> None:
        if self.refused is None or self.refused.reason != refused.reason:
            _log.error("%s", refused)
        self.refused = refused
        if not self._dirty.is_set():
            self._clean.set()

    async def _write(self) -> None:
        if self._written is None:
            await self._ensure_namespace()
            if self.service is not None:
                await self._ensure_service(self.service)
            await self.store.apply(self.entry, field_manager=FIELD_MANAGER, force=True)
        wanted = self.health
        if self._written != wanted:
            try:
                status = {"conditions": [wanted.condition(self.clock())]}
                self.version = (await self.store.patch_status(self.ref, status)).metadata.resource_version
            except NotFound:
                self._written = None
                self._dirty.set()
                return
            self._written = wanted
            self.told(wanted.healthy)
        self.refused = None

    async def _ensure_namespace(self) -> None:
        try:
            await self.store.get(Ref("", "Namespace", "", self.ref.namespace))
        except NotFound:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.ref.namespace}}
            try:
                await self.store.create(namespace)
            except AlreadyExists:
                return

    async def _ensure_service(self, service: dict[str, Any]) -> None:
        """A Service that somebody wrote stays as it is; one of ours gets the ports it lacks."""
        metadata = service["metadata"]
        try:
            found = await self.store.get(Ref("", "Service", metadata["namespace"], metadata["name"]))
        except NotFound:
            try:
                await self.store.apply(service, field_manager=FIELD_MANAGER)
            except AlreadyExists:
                return
            return
        assert isinstance(found.spec, ServiceSpec)  # noqa: S101 (tells the type checker)
        known = {(port.port, port.protocol) for port in found.spec.ports}
        missing = [port for port in service["spec"]["ports"] if (port["port"], port["protocol"]) not in known]
        if missing and MANAGED_BY in found.metadata.annotations:
            kept = [_port_object(port) for port in found.spec.ports]
            spec = {**service["spec"], "ports": [*kept, *missing]}
            await self.store.apply({**service, "spec": spec}, field_manager=FIELD_MANAGER, force=True)
        elif missing:
            names = ", ".join(str(port["port"]) for port in missing)
            _log.warning("Service %s/%s lacks port %s", metadata["namespace"], metadata["name"], names)


def _port_object(port: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": port.name, "port": port.port, "protocol": port.protocol}
    if port.target_port is not None:
        made["targetPort"] = port.target_port
    if port.app_protocol is not None:
        made["appProtocol"] = port.app_protocol
    return made


@dataclass(slots=True)
class Registrar:
    """All registrations of one process."""

    store: ResourceStore
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _kept: dict[Ref, Registration] = field(default_factory=dict)

    async def run(self) -> None:
        """Notice entries that somebody removed; for ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async for change in self.store.watch((WORKLOAD_ENTRY,)):
                    pause = _FIRST_PAUSE
                    for ref in change.removed:
                        if ref in self._kept:
                            _log.warning("%s was removed although it runs: registered again", ref)
                            self._kept[ref].vanished()
            except StoreError as error:
                _log.info("entries are not watched: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def register(self, entry: dict[str, Any], service: dict[str, Any] | None) -> Registration:
        """Begin to keep an entry; `settled` tells when it is there. It is unhealthy at first."""
        made = Registration(self.store, entry, service, self.clock)
        self._kept[made.ref] = made
        made.task = asyncio.create_task(made.keep(), name=f"register {made.ref}")
        made.disturbed()
        return made

    async def withdraw(self, registration: Registration, patience: float) -> None:
        """Remove the entry. If the control plane does not answer for `patience` seconds, it is left to it
        to notice that the proxy is gone."""
        self._kept.pop(registration.ref, None)
        if registration.task is not None:
            registration.task.cancel()
            await asyncio.gather(registration.task, return_exceptions=True)
        try:
            async with asyncio.timeout(patience):
                await self.store.delete(registration.ref)
        except NotFound:
            return
        except (StoreError, TimeoutError) as error:
            _log.warning("%s stays until its proxy is missed: %s", registration.ref, error)
