"""What the node agent hosts: the runners of application files, brought to what was asked for last."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from marline.node.application import Application
from marline.node.errors import NodeError
from marline.node.machine import Machine
from marline.node.runner import GatewayRunner, WorkloadRunner
from marline.node.workload import GatewaySpec, WorkloadSpec, WorkloadStatus

_HAND_OVER_SECONDS: Final = 60.0
"""How long the old instances of a changed service wait for the new ones to be ready."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Hosted:
    """One runner and its life."""

    application: str
    spec: WorkloadSpec | GatewaySpec
    runner: WorkloadRunner | GatewayRunner
    task: asyncio.Task[Any]

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
    _pulse: asyncio.Event = field(default_factory=asyncio.Event)
    _hand_overs: set[asyncio.Task[None]] = field(default_factory=set)

    def statuses(self) -> tuple[WorkloadStatus, ...]:
        return tuple(item.status for item in self.hosted)

    @property
    def applications(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.application for item in self.hosted))

    async def up(self, application: Application) -> None:
        """Run what this application says and nothing else of that name. What is the same goes on
        undisturbed; what differs is replaced once its successor is ready."""
        wanted: list[WorkloadSpec | GatewaySpec] = [
            planned.spec for planned in application.workloads for _ in range(planned.replicas)
        ]
        wanted += application.gateways
        old = [item for item in self.hosted if item.application == application.name]
        for item in list(old):
            if item.spec in wanted and not item.failure:
                wanted.remove(item.spec)
                old.remove(item)
        # A gateway's successor needs its ports.
        await self.end([item for item in old if isinstance(item.spec, GatewaySpec)])
        old = [item for item in old if isinstance(item.spec, WorkloadSpec)]
        new = [self._start(spec, application.name) for spec in wanted]
        if old:
            task = asyncio.create_task(self._hand_over(old, new), name=f"replace {application.name}")
            self._hand_overs.add(task)
            task.add_done_callback(self._hand_overs.discard)

    def _start(self, spec: WorkloadSpec | GatewaySpec, application: str) -> Hosted:
        runner: WorkloadRunner | GatewayRunner
        if isinstance(spec, WorkloadSpec):
            runner = WorkloadRunner(self.machine, spec, application=application)
        else:
            runner = GatewayRunner(self.machine, spec, application=application)
        runner.changed = self._pulse.set
        task: asyncio.Task[Any] = asyncio.create_task(runner.run(), name=f"{spec}")
        hosted = Hosted(application, spec, runner, task)
        task.add_done_callback(lambda _: self._ended(hosted))
        self.hosted.append(hosted)
        return hosted

    def _ended(self, hosted: Hosted) -> None:
        if hosted.failure:
            error = hosted.task.exception()
            unexpected = error if not isinstance(error, NodeError) else None
            _log.error("%s failed: %s", hosted.status.name, hosted.failure, exc_info=unexpected)
        self._pulse.set()

    async def _hand_over(self, old: list[Hosted], new: list[Hosted]) -> None:
        successors = [item for item in new if item.service in {gone.service for gone in old}]
        await self._all_ready(successors, _HAND_OVER_SECONDS)
        await self.end(old)

    async def ready(self, timeout: float) -> bool:
        """Wait until everything is ready; False if something failed or time is over."""
        return await self._all_ready(self.hosted, timeout)

    async def _all_ready(self, which: list[Hosted], timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                while not all(item.runner.ready.is_set() for item in which):
                    if any(item.failure for item in which):
                        return False
                    self._pulse.clear()
                    await self._pulse.wait()
        except TimeoutError:
            return False
        return True

    def called(self, names: tuple[str, ...]) -> list[Hosted]:
        """What a user means by these names of applications, services or workloads; none: everything."""
        return [item for item in self.hosted if not names or item.is_called(names)]

    async def end(self, which: list[Hosted]) -> None:
        """Stop these, in order: those at the edge first."""
        for kind in (GatewaySpec, WorkloadSpec):
            ending = [item for item in which if isinstance(item.spec, kind)]
            for item in ending:
                item.runner.stop()
            await asyncio.gather(*(item.task for item in ending), return_exceptions=True)
        self.hosted = [item for item in self.hosted if item not in which]

    async def close(self) -> None:
        """Stop everything."""
        for task in list(self._hand_overs):
            task.cancel()
        await self.end(list(self.hosted))
