"""One workload's life, and a gateway's, from the first reservation to the last process.

Registered but not ready → identity served → Envoy started → Envoy has its first configuration → application
started → probes → ready. At the end in reverse: no longer ready, requests under way finished, application
ended, entry removed, Envoy ended.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from marline.mesh.model import Capture
from marline.node.checks import Target, check_all_ports, check_of
from marline.node.machine import Machine, ended
from marline.node.plan import Place, Plan, gateway_name, plan_gateway, plan_workload, workload_name
from marline.node.ports import AddressUnusable, Reservations, can_bind, loopback_addresses
from marline.node.probes import once_ready, watch_readiness
from marline.node.process import Launch, options_of, spawn
from marline.node.proxied import Proxied, Runner
from marline.node.register import Health, Registration, RegistrationRefused
from marline.node.strays import VARIABLE as ID_VARIABLE
from marline.node.strays import end_strays
from marline.node.supervise import BackOff, Phase, Supervision, Supervisor
from marline.node.workload import GatewaySpec, WorkloadSpec, WorkloadStatus

ENDPOINT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"
"""By which SPIFFE's clients find the Workload API (SPIFFE Workload Endpoint, section 4)."""
PROPAGATION_SECONDS: Final = 5.0
"""How long proxies may take to learn that an endpoint is no longer ready."""
DRAIN_SECONDS: Final = 10.0
"""How long requests under way may take when a workload ends."""
_BLINK_SECONDS: Final = 2.0
"""An Envoy that is back within this time was not away: its peers' retries cover it."""
_APP_BACK_OFF: Final = BackOff(first=0.2)
_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix(length: int = 5) -> str:
    """Kubernetes' alphabet for names: no vowels, nothing that looks like something else."""
    return "".join(secrets.choice(_SUFFIX) for _ in range(length))


class WorkloadRunner(Runner):
    """Runs one instance of a service behind its own sidecar."""

    def __init__(
        self, machine: Machine, spec: WorkloadSpec, *, application: str = "", foreground: bool = False
    ) -> None:
        """`foreground`: the application has this process's input and outputs, and is not restarted."""
        super().__init__(machine, "sidecar", application)
        self.spec, self._foreground = spec, foreground
        self._name = spec.name or workload_name(spec.service, spec.version, random_suffix())
        self.exit_code: int | None = None
        """The application's, once it has ended; minus the number of a signal."""
        self._app: Supervisor | None = None
        self._app_up, self._app_down = asyncio.Event(), asyncio.Event()
        self._proxy_gone_at: float | None = None
        self._probe_says = Health(False, "Starting", "the application has not been started")

    @property
    def status(self) -> WorkloadStatus:
        made = self._status(self._name, self.spec.namespace, self.spec.service, self.spec.version)
        app = self._app
        if app is None:
            return made
        backing_off = app.machine.phase is Phase.BACKING_OFF and self._state == "running"
        return msgspec.structs.replace(
            made,
            app_pid=app.pid,
            app_restarts=app.machine.restarts,
            state="backing off" if backing_off else self._state,
            message=made.message or app.message or ("" if made.ready else self._probe_says.message),
        )

    @property
    def application_pid(self) -> int:
        return self._app.pid if self._app is not None else 0

    async def run(self) -> int | None:
        """The whole life; ends after `stop`, or with an application that is not restarted. Returns its
        exit code. Raises `NodeError` if it cannot be had at all."""
        with self._named(self._name, self.spec.namespace) as reservations:
            async with self._somewhere() as place:
                plan = plan_workload(
                    self.spec, self._name, self.machine.node, self.machine.config.trust_domain, place,
                    lambda: reservations.port(place.address),
                )  # fmt: skip
                options_of(self._launch(plan, place))  # refuses an unknown user before anything is started
                async with self._proxy(plan, place) as proxied:
                    await self._serve(proxied)
        return self.exit_code

    @asynccontextmanager
    async def _somewhere(self) -> AsyncIterator[Place]:
        network = self.machine.network
        if network is None:
            yield Place(Capture.EXPLICIT)
            return
        resolv_conf = self.machine.home.workload(self.id).resolv_conf
        resolv_conf.parent.mkdir(mode=0o700)
        try:
            datagrams = [item.target_port or item.port for item in self.spec.ports if item.takes_datagrams]
            async with network.place(self.spec.namespace, self.id, resolv_conf, datagrams) as place:
                yield place
        finally:
            shutil.rmtree(resolv_conf.parent, ignore_errors=True)

    async def _serve(self, proxied: Proxied) -> None:
        assert proxied.registration is not None  # noqa: S101 (a workload has an entry)
        proxied.registration.told = self._told
        self._tell("registering")
        if not await self._unless_stopped(asyncio.create_task(proxied.registration.settled())):
            return
        self._tell("waiting for configuration", "Envoy has no configuration yet")
        if not await self._unless_stopped(asyncio.create_task(_until(proxied.envoy.live))):
            return
        launch = self._launch(proxied.plan, proxied.place)
        restart = self.spec.restart and not self._foreground
        app = Supervisor(lambda: spawn(launch), self._app_changed, Supervision(_APP_BACK_OFF, restart))
        self._app = app
        life = asyncio.create_task(app.run(), name=f"application {self._name}")
        watch = asyncio.create_task(self._probe(proxied, launch), name=f"probe {self._name}")
        self._tell("running")
        try:
            await self._stopped(life, watch)
        finally:
            try:
                await ended(watch)
            finally:
                await self._wind_down(proxied, app, life)

    async def _wind_down(self, proxied: Proxied, app: Supervisor, life: asyncio.Task[None]) -> None:
        self._tell("stopping")
        self._probe_says = Health(False, "Stopping")
        had_traffic = self.ready.is_set()
        self._judge()
        try:
            # An application that has ended by itself has nothing to finish.
            if app.process is not None:
                if had_traffic:
                    await forgotten(self.machine, proxied.registration)
                await proxied.envoy.drain(DRAIN_SECONDS)
        finally:
            app.stop(self.spec.grace_seconds)
            await life
            await asyncio.to_thread(end_strays, [self.id])

    def _launch(self, plan: Plan, place: Place) -> Launch:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MARLINE_")}
        foreground = self._foreground
        told = {**plan.environment, ENDPOINT_VARIABLE: self.machine.identities.endpoint}
        return Launch(
            command=self.spec.command,
            environment={**inherited, **told, **self.spec.environment, ID_VARIABLE: self.id},
            directory=self.spec.working_directory,
            log=None if foreground else self.machine.home.log / f"{plan.name}.log",
            netns=place.netns,
            resolv_conf=place.resolv_conf,
            user=self.spec.user,
            drop_network=bool(place.netns),
            inherit_stdin=foreground,
        )

    def _app_changed(self) -> None:
        app = self._app
        if app is None:
            return
        if app.process is not None:
            self._app_down.clear()
            self._app_up.set()
        elif self._app_up.is_set():
            self._app_up.clear()
            self._app_down.set()
            self.exit_code = app.last_exit
            self._probed(False, f"the application ended with {app.last_exit}")
        self._update()

    async def _probe(self, proxied: Proxied, launch: Launch) -> None:
        target = Target(proxied.plan.app_ports, proxied.place.netns)
        spec = self.spec.readiness
        while True:
            await self._app_up.wait()
            if spec is None:
                probing = asyncio.create_task(once_ready(lambda: check_all_ports(target), self._probed))
            else:
                check = check_of(spec, target, launch)
                probing = asyncio.create_task(watch_readiness(spec, check, self._probed))
            try:
                await self._app_down.wait()
            finally:
                await ended(probing)

    def _probed(self, ready: bool, reason: str) -> None:
        if ready and not self._app_up.is_set():
            return  # what was seen is an application that has ended since
        self._probe_says = Health(ready, "Ready" if ready else "NotReady", reason)
        self._judge()

    def _proxy_changed(self) -> None:
        self._judge()
        super()._proxy_changed()

    def _judge(self) -> None:
        """Say of the workload what follows from its application and its proxy."""
        proxied = self._proxied
        if proxied is None or proxied.registration is None:
            return
        loop = asyncio.get_running_loop()
        if proxied.envoy.live.is_set():
            self._proxy_gone_at = None
        elif self._proxy_gone_at is None:
            self._proxy_gone_at = loop.time()
            loop.call_later(_BLINK_SECONDS, self._judge)
        gone = self._proxy_gone_at is not None and loop.time() - self._proxy_gone_at >= _BLINK_SECONDS
        health = Health(False, "NoProxy", "its Envoy does not run") if gone else self._probe_says
        proxied.registration.set_health(health)
        if not health.healthy:
            self._told(False)
        self._update()

    def _told(self, healthy: bool) -> None:
        """It is ready when the mesh knows that it is."""
        if healthy != self.ready.is_set():
            (self.ready.set if healthy else self.ready.clear)()
            self._update()


class GatewayRunner(Runner):
    """Runs an Envoy without application, at the edge of the mesh."""

    def __init__(self, machine: Machine, spec: GatewaySpec, *, application: str = "") -> None:
        super().__init__(machine, "gateway", application)
        self.spec = spec

    @property
    def status(self) -> WorkloadStatus:
        return self._status(self.spec.name, self.spec.namespace, self.spec.name, "")

    async def run(self) -> None:
        """Until `stop`. Raises `PortTaken`, among other `NodeError`s."""
        machine = self.machine
        name = gateway_name(self.spec, machine.node)
        with self._named(name, self.spec.namespace) as reservations:
            async with self._address(reservations) as address, self._mesh_address() as mesh_address:
                plan = plan_gateway(
                    msgspec.structs.replace(self.spec, bind=address),
                    machine.node,
                    machine.config.trust_domain,
                    is_root=os.geteuid() == 0,
                    mesh_address=mesh_address,
                )
                for number in plan.listen.values():
                    reservations.listen(address, number)
                async with self._proxy(plan, Place(Capture.EXPLICIT, address)) as proxied:
                    await self._serve(proxied)

    @asynccontextmanager
    async def _address(self, reservations: Reservations) -> AsyncIterator[str]:
        """Where it listens: as its user says, or at an address of its own. Raises `AddressUnusable`."""
        owner = f"{self.spec.namespace}/{self.spec.name}"
        if self.spec.bind:
            if not can_bind(self.spec.bind, 0):
                raise AddressUnusable(self.spec.bind)
            yield self.spec.bind
        elif self.machine.network is not None:
            async with self.machine.network.address(owner) as address:
                yield address
        else:
            yield reservations.first("address", loopback_addresses(owner))

    @asynccontextmanager
    async def _mesh_address(self) -> AsyncIterator[str]:
        """Where workloads reach it in their namespaces, in which a given address is another or nobody's."""
        network = self.machine.network
        if network is None or not self.spec.bind:
            yield ""
            return
        async with network.address(f"{self.spec.namespace}/{self.spec.name}") as address:
            yield address

    async def _serve(self, proxied: Proxied) -> None:
        self._tell("waiting for configuration", "Envoy has no configuration yet")
        if await self._unless_stopped(asyncio.create_task(_until(proxied.envoy.live))):
            self._tell("running")
            self._proxy_changed()
            await self._stopped()
        self._tell("stopping")
        self.ready.clear()
        if proxied.registration is not None:
            proxied.registration.set_health(Health(False, "Stopping"))
        await forgotten(self.machine, proxied.registration)
        await proxied.envoy.drain(DRAIN_SECONDS)

    def _proxy_changed(self) -> None:
        """It is ready while its Envoy is."""
        if self._state == "running" and self._proxied is not None:
            live = self._proxied.envoy.live.is_set()
            (self.ready.set if live else self.ready.clear)()
            if self._proxied.registration is not None:
                health = Health(True, "Ready") if live else Health(False, "NoProxy", "its Envoy does not run")
                self._proxied.registration.set_health(health)
        super()._proxy_changed()


async def forgotten(machine: Machine, registration: Registration | None) -> None:
    """Until no proxy sends to a workload any more that is not healthy, or it has taken too long."""
    if registration is None:
        return
    with contextlib.suppress(TimeoutError, RegistrationRefused):
        async with asyncio.timeout(PROPAGATION_SECONDS):
            await registration.settled()
            await machine.propagated(registration.version)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
