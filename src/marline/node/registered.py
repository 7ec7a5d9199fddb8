"""An identity for processes that Marline does not run: registered by what the kernel says of them."""

import asyncio

import msgspec

from marline.identity.spiffe import workload_id
from marline.node.machine import Machine
from marline.node.proxied import Runner
from marline.node.workload import IdentitySpec, WorkloadStatus


class IdentityRunner(Runner):
    """Keeps one identity ready for those that its selectors are true of."""

    def __init__(self, machine: Machine, spec: IdentitySpec, *, application: str = "") -> None:
        super().__init__(machine, "identity", application)
        self.spec = spec
        self._spiffe_id = str(
            workload_id(machine.config.trust_domain, spec.namespace, spec.service_account or spec.name)
        )

    @property
    def status(self) -> WorkloadStatus:
        made = self._status(self.spec.name, self.spec.namespace, self.spec.name, "")
        return msgspec.structs.replace(made, spiffe_id=self._spiffe_id, capture="")

    async def run(self) -> None:
        """Until `stop`. Raises `NodeError`."""
        with self._named(self.spec.name, self.spec.namespace):
            self._tell("waiting for a certificate")
            async with self.machine.identities.registered(self._spiffe_id, self.spec.selectors) as source:
                if await self._unless_stopped(asyncio.create_task(source.first())):
                    self.ready.set()
                    self._tell("running")
                    await self._stopped()
            self.ready.clear()
            self._tell("stopped")
