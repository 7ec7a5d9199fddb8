"""The sidecar of a client under transparent capture: its listeners are met at ports of their own, instead of
by redirection."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from routing_envoy import RunningEnvoy, run_envoy
from static_mesh import mesh_authority, snapshot_of, static_config

from marline.mesh.model import Capture, Proxy, Role, Workload

_PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typedConfig": {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
    },
}
_IDENTITY = "spiffe://cluster.local/ns/default/sa/client"


@asynccontextmanager
async def captured_client(
    documents: str, *listeners: str, namespace: str = "default", announced: bool = False, **bootstrap: Any
) -> AsyncIterator[tuple[RunningEnvoy, Mapping[str, int]]]:
    """Of all listeners these; their ports by name. `announced`: connections begin with a PROXY header, which
    says what redirection would: the address that the application chose."""
    workload = Workload(namespace, "client", "client")
    proxy = Proxy("client", Role.SIDECAR, Capture.TRANSPARENT, (workload,))
    identity = mesh_authority().svid(_IDENTITY)
    static = static_config(snapshot_of(documents), proxy, identity, mesh_authority().pem)
    kept = [item for item in static["listeners"] if item["name"] in listeners]
    for item in kept:
        item["address"]["socketAddress"] |= {"address": "127.0.0.1", "portValue": 0}
        item["bindToPort"] = True
        if announced:
            item["listenerFilters"] = [_PROXY_PROTOCOL, *item.get("listenerFilters", ())]
    async with run_envoy({**static, "listeners": kept}, **bootstrap) as envoy:
        yield envoy, envoy.ports
