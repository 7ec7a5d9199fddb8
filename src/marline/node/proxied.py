"""What a workload and a gateway have in common while they run: a name, an entry, an identity, an Envoy."""

import asyncio
import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from marline.identity.workload_server import Owns
from marline.node.envoy import EnvoyRunner
from marline.node.errors import StartFailed
from marline.node.home import WorkloadDirectory, write_private
from marline.node.machine import Machine
from marline.node.plan import Place, Plan
from marline.node.ports import Reservations
from marline.node.proxy_settings import FromStore
from marline.node.records import mark
from marline.node.register import Registration
from marline.node.workload import WorkloadStatus

_WITHDRAW_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Proxied:
    """What was made for one runner, and where."""

    plan: Plan
    place: Place
    directory: WorkloadDirectory
    envoy: EnvoyRunner
    log: Path
    registration: Registration | None


class Runner:
    """Base of the runners: who it is, how it is, when it is asked to end."""

    def __init__(self, machine: Machine, kind: str, application: str) -> None:
        self.machine = machine
        self.id = secrets.token_hex(5)
        self.ready = asyncio.Event()
        """Set while it gets traffic."""
        self.changed: Callable[[], None] = lambda: None
        """Called whenever `status` may have changed."""
        self._stop = asyncio.Event()
        self._kind, self._application = kind, application
        self._state, self._message = "starting", ""
        self._proxied: Proxied | None = None
        self._recorded: WorkloadStatus | None = None

    def stop(self) -> None:
        """Ask `run` to end, in order."""
        self._stop.set()

    def _tell(self, state: str, message: str = "") -> None:
        self._state, self._message = state, message
        self._update()

    def _update(self) -> None:
        status = self.status
        if self._proxied is not None and status != self._recorded:
            self._recorded = status
            self._record(self._proxied.directory.record, status)
        self.changed()

    def _record(self, path: Path, status: WorkloadStatus) -> None:
        try:
            write_private(path, msgspec.json.encode(status))
        except FileNotFoundError:
            return  # it has ended, and its directory is gone
        except OSError as error:
            # Not worth a workload: the disk is full, and what is said of it is out of date.
            _log.warning("%s cannot be written: %s", path, error.strerror)

    def _proxy_changed(self) -> None:
        """Envoy was started, has ended, or is live."""
        self._update()

    @property
    def status(self) -> WorkloadStatus:
        """How it is now."""
        raise NotImplementedError

    def _status(self, name: str, namespace: str, service: str, version: str) -> WorkloadStatus:
        """What every kind of runner can say."""
        proxied = self._proxied
        made = WorkloadStatus(
            self.id, name, namespace, service, version, self._kind, "", "", "", {}, "", "",
            state=self._state, ready=self.ready.is_set(), application=self._application,
            owner_pid=os.getpid(), message=self._message,
        )  # fmt: skip
        if proxied is None:
            return made
        return msgspec.structs.replace(
            made,
            name=proxied.plan.name,
            node_id=proxied.plan.proxy.node_id,
            spiffe_id=proxied.plan.spiffe_id,
            address=proxied.place.address,
            ports=dict(proxied.plan.listen),
            admin_socket=str(proxied.directory.admin_socket),
            log_file=str(proxied.log),
            envoy_pid=proxied.envoy.pid,
            envoy_restarts=proxied.envoy.restarts,
            capture=proxied.place.capture.value,
            message=self._message or proxied.envoy.message,
        )

    async def _stopped(self, *others: asyncio.Task[Any]) -> None:
        """Until this runner is to end, or one of these tasks does; their errors are raised."""
        asked = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({asked, *others}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            asked.cancel()

    async def _unless_stopped(self, what: asyncio.Task[Any]) -> bool:
        """Wait for this task; False if the runner is to end before."""
        try:
            await self._stopped(what)
        finally:
            if not what.done():
                what.cancel()
        return not self._stop.is_set()

    @property
    def application_pid(self) -> int:
        """The process that it runs; 0: none now."""
        return 0

    def _owner(self, place: Place) -> Owns:
        """Which processes are this workload's: all in its network namespace, which nobody else can enter;
        without one, the application and what it has started."""
        network = Path(place.netns).stat().st_ino if place.netns else 0
        if network:
            return lambda facts: facts.network == network
        return lambda facts: facts.descends_from(self.application_pid)

    @asynccontextmanager
    async def _proxy(self, plan: Plan, place: Place) -> AsyncIterator[Proxied]:
        """The entry, the identity and the Envoy of a plan, all gone at the end, in reverse."""
        home, registrar = self.machine.home, self.machine.registrar
        directory = home.workload(self.id)
        envoy = EnvoyRunner(
            home, directory, plan.proxy, plan.cluster, home.log / f"{plan.name}.envoy.log",
            netns=place.netns, binds_privileged_ports=plan.proxy.privileged_ports,
            configured=FromStore(self.machine.store, plan.proxy), changed=self._proxy_changed,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            directory.path.mkdir(mode=0o700, exist_ok=True)
            stack.callback(self._tell, "stopped")
            stack.callback(shutil.rmtree, directory.path, ignore_errors=True)
            serving = self.machine.identities.proxied(
                plan.proxy.node_id,
                plan.spiffe_id,
                directory.sds_socket,
                lambda: envoy.pid,
                self._owner(place),
            )
            await stack.enter_async_context(serving)
            stack.push_async_callback(envoy.stop)
            registration = None
            if plan.entry is not None:
                registration = registrar.register(plan.entry, plan.service)
                stack.push_async_callback(registrar.withdraw, registration, _WITHDRAW_SECONDS)
            log = home.log / f"{plan.name}.log"
            self._proxied = Proxied(plan, place, directory, envoy, log, registration)
            envoy.start()
            yield self._proxied

    @contextmanager
    def _named(self, name: str, namespace: str) -> Iterator[Reservations]:
        """What is reserved for it as long as it lives, its name among it. Raises `NameTaken`; and
        `StartFailed` for what the machine refuses within this block."""
        reservations = Reservations()
        try:
            reservations.claim(mark(self.id))
            reservations.workload(self.machine.config.mesh_id, namespace, name)
            yield reservations
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise StartFailed(name, f"{where}{error.strerror or error}") from error
        finally:
            reservations.release()
