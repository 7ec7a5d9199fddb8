"""What the node agent hosts: the runners of application files, brought to what was asked for last."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from marline.node.application import Application
from marline.node.errors import AgentRefused, NodeError
from marline.node.machine import Machine
from marline.node.registered import IdentityRunner
from marline.node.runner import GatewayRunner, WorkloadRunner
from marline.node.workload import GatewaySpec, IdentitySpec, WorkloadSpec, WorkloadStatus

Spec = WorkloadSpec | GatewaySpec | IdentitySpec

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Hosted:
    """One runner and its life."""

    application: str
    spec: Spec
    runner: WorkloadRunner | GatewayRunner | IdentityRunner
    task: asyncio.Task[Any]
    leaving: bool = False
    """It is to end once others are ready to take its place, or has been told to."""

    @property
    def is_settled(self) -> bool:
        """Is it what it will be: ready, or at its end?"""
        return self.runner.ready.is_set() or self.task.done()

    @property
    def failure(self) -> str:
        if not self.task.done() or self.task.cancelled():
            return ""
        error = self.task.exception()
        return "" if error is None else str(error) or type(error).__name__

    @property
    def status(self) -> WorkloadStatus:
        status = self.runner.status
        if self.failure:
            return msgspec.structs.replace(status, state="failed", message=self.failure, ready=False)
        return status

    @property
    def service(self) -> str:
        return self.spec.service if isinstance(self.spec, WorkloadSpec) else self.spec.name

    def is_called(self, names: Iterable[str]) -> bool:
        return not {self.application, self.service, self.status.name}.isdisjoint(names)


@dataclass(slots=True)
class Host:
    """All hosted runners."""

    machine: Machine
    hosted: list[Hosted] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None
    """Called when what it was asked for has changed, or something has failed."""
    _pulse: asyncio.Event = field(default_factory=asyncio.Event)
    _hand_overs: set[asyncio.Task[None]] = field(default_factory=set)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _closed: bool = False

    def statuses(self) -> tuple[WorkloadStatus, ...]:
        return tuple(item.status for item in self.hosted)

    def wanted(self) -> tuple[WorkloadStatus, ...]:
        """Without those that are about to end."""
        return tuple(item.status for item in self._staying())

    def _staying(self) -> list[Hosted]:
        return [item for item in self.hosted if not item.leaving]

    @property
    def applications(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.application for item in self.hosted))

    def gateways(self, *, without: str) -> tuple[GatewaySpec, ...]:
        """The gateways of all applications but this one."""
        staying = (item for item in self._staying() if item.application != without)
        return tuple(item.spec for item in staying if isinstance(item.spec, GatewaySpec))

    def has_failed(self, application: str) -> bool:
        """Has anything of it failed?"""
        return any(item.failure for item in self._staying() if item.application == application)

    async def up(self, application: Application) -> None:
        """Run what this application says and nothing else of that name. What is the same goes on
        undisturbed; what differs is replaced once its successors are ready, and stays if they fail.
        Raises `AgentRefused` at the end of the agent."""
        async with self._one_at_a_time:
            if self._closed:
                raise AgentRefused("the node agent is stopping")
            wanted: list[Spec] = [
                planned.spec for planned in application.workloads for _ in range(planned.replicas)
            ]
            wanted += (*application.gateways, *application.identities)
            old = []
            for item in self.hosted:
                if item.application == application.name and not item.leaving:
                    if item.spec in wanted and not item.task.done():
                        wanted.remove(item.spec)
                    else:
                        item.leaving = True
                        old.append(item)
            # A gateway's successor needs its ports, and an identity's its name.
            await self.end([item for item in old if not isinstance(item.spec, WorkloadSpec)])
            new = [self._start(spec, application.name) for spec in wanted]
            self._replace([item for item in old if isinstance(item.spec, WorkloadSpec)], new)
        self.changed()

    def _replace(self, old: list[Hosted], new: list[Hosted]) -> None:
        for service in dict.fromkeys(item.service for item in old):
            leaving = [item for item in old if item.service == service]
            successors = [item for item in new if item.service == service]
            task = asyncio.create_task(self._hand_over(leaving, successors), name=f"replace {service}")
            self._hand_overs.add(task)
            task.add_done_callback(self._hand_overs.discard)

    def _start(self, spec: Spec, application: str) -> Hosted:
        runner: WorkloadRunner | GatewayRunner | IdentityRunner
        match spec:
            case WorkloadSpec():
                runner = WorkloadRunner(self.machine, spec, application=application)
            case GatewaySpec():
                runner = GatewayRunner(self.machine, spec, application=application)
            case IdentitySpec():
                runner = IdentityRunner(self.machine, spec, application=application)
        runner.changed = self._pulse.set
        task: asyncio.Task[Any] = asyncio.create_task(runner.run(), name=f"run {runner.status.name}")
        hosted = Hosted(application, spec, runner, task)
        task.add_done_callback(lambda _: self._ended(hosted))
        self.hosted.append(hosted)
        return hosted

    def _ended(self, hosted: Hosted) -> None:
        if hosted.failure:
            error = hosted.task.exception()
            unexpected = error if not isinstance(error, NodeError) else None
            _log.error("%s failed: %s", hosted.status.name, hosted.failure, exc_info=unexpected)
            self.changed()
        self._pulse.set()

    async def _hand_over(self, old: list[Hosted], new: list[Hosted]) -> None:
        """As a Deployment does: the old ones serve until the new ones can, however long that takes."""
        await self._settled(lambda: new)
        if any(item.failure for item in new):
            for item in old:
                item.leaving = False
            names = ", ".join(item.status.name for item in old)
            _log.error("%s go on, since what should take their place has failed", names)
            return
        await self.end(old)

    async def ready(self, timeout: float) -> bool:
        """Wait until everything is ready or has ended; False if something failed or time is over."""
        try:
            async with asyncio.timeout(timeout):
                await self._settled(self._staying)
        except TimeoutError:
            return False
        return not any(item.failure for item in self._staying())

    async def _settled(self, which: Callable[[], list[Hosted]]) -> None:
        while not all(item.is_settled for item in which()):
            self._pulse.clear()
            await self._pulse.wait()

    def called(self, names: tuple[str, ...]) -> list[Hosted]:
        """What a user means by these names of applications, services or workloads; none: everything."""
        return [item for item in self.hosted if not names or item.is_called(names)]

    async def end(self, which: list[Hosted]) -> None:
        """Stop these, in order: those at the edge first."""
        for item in which:
            item.leaving = True
        for kind in (GatewaySpec, WorkloadSpec, IdentitySpec):
            ending = [item for item in which if isinstance(item.spec, kind)]
            for item in ending:
                item.runner.stop()
            await asyncio.gather(*(item.task for item in ending), return_exceptions=True)
        self.hosted = [item for item in self.hosted if item not in which]
        self._pulse.set()
        self.changed()

    async def close(self) -> None:
        """Stop everything, for ever."""
        self._closed = True
        async with self._one_at_a_time:
            for task in list(self._hand_overs):
                task.cancel()
            await self.end(list(self.hosted))
