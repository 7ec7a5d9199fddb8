"""The ways from a command to the running mesh: its API, its proxies' states, its workloads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from marline.node.control import NodeClient
from marline.node.errors import NotRunning
from marline.node.home import Home, agent_pid
from marline.node.workload import WorkloadStatus
from marline.store.interface import Unavailable
from marline.store.remote.client import RemoteStore
from marline.xds.status import PATH, ProxyList


@asynccontextmanager
async def open_api(home: Home) -> AsyncIterator[RemoteStore]:
    """The mesh's API with the home's credentials. Raises `NotRunning` rather than `Unavailable` if it is
    unavailable because no mesh runs."""
    try:
        async with RemoteStore.from_kubeconfig(home.kubeconfig) as store:
            yield store
    except Unavailable as error:
        if agent_pid(home) is None:
            raise NotRunning(str(home.path)) from error
        raise


async def connected_proxies(store: RemoteStore, **awaited: str) -> ProxyList:
    """What each proxy has, as the control plane knows it. `awaited` are query parameters, see
    `marline.xds.status`, that say for what the control plane waits before it answers."""
    answer = await store.request("GET", PATH, params=awaited)
    try:
        return msgspec.json.decode(answer.body, type=ProxyList)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the control plane's answer about proxies cannot be read: {error}") from error


async def running_workloads(home: Home) -> tuple[WorkloadStatus, ...]:
    """All workloads and gateways of this machine. Raises `NotRunning`."""
    return await NodeClient(home).list()
