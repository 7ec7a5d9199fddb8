"""The Service of a Gateway that has a proxy of its own: by its name workloads of the mesh reach the Gateway.

As in Istio it bears the Gateway's `infrastructure` labels and annotations, and is named like the proxy. It
belongs to the Gateway, and the store removes it with that.
"""

from collections.abc import Iterable
from typing import Any, Final

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.mesh.endpoints import MANAGED_BY
from marline.mesh.gateways import unprivileged_port
from marline.mesh.selection import GATEWAY_NAME_LABEL
from marline.store.interface import NotFound, ResourceStore

_MANAGER: Final = "marline-gateway-deployment"


def service_ref(namespace: str, name: str) -> Ref:
    return Ref("", "Service", namespace, name)


def service_of(
    gateway: Resource[GatewaySpec], name: str, node: str, *, is_root: bool
) -> dict[str, Any] | None:
    """None for a Gateway without listeners for TCP, of which a Service could speak."""
    infrastructure = gateway.spec.infrastructure
    labels = infrastructure.labels if infrastructure is not None else {}
    annotations = infrastructure.annotations if infrastructure is not None else {}
    ports = list(_ports(gateway.spec, is_root=is_root))
    if not ports:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": gateway.namespace,
            "labels": {**labels, GATEWAY_NAME_LABEL: gateway.name},
            "annotations": {**annotations, MANAGED_BY: node},
            "ownerReferences": [
                {
                    "apiVersion": gateway.api_version,
                    "kind": "Gateway",
                    "name": gateway.name,
                    "uid": gateway.metadata.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {"selector": {GATEWAY_NAME_LABEL: gateway.name}, "ports": ports},
    }


def _ports(spec: GatewaySpec, *, is_root: bool) -> Iterable[dict[str, Any]]:
    """Each port once, with a name that says its protocol."""
    protocols = {item.port: item.protocol for item in reversed(spec.listeners) if item.protocol != "UDP"}
    for number, protocol in sorted(protocols.items()):
        target = number if is_root else unprivileged_port(number)
        name = f"{protocol.lower() if protocol in ('HTTP', 'HTTPS', 'TLS') else 'tcp'}-{number}"
        yield {"name": name, "port": number, "protocol": "TCP", "targetPort": target}


async def write_service(store: ResourceStore, service: dict[str, Any]) -> bool:
    """Make it so; False if there is another Service of its name, which is left alone. Raises `StoreError`."""
    metadata = service["metadata"]
    try:
        known = await store.get(service_ref(metadata["namespace"], metadata["name"]))
    except NotFound:
        known = None
    if known is not None and MANAGED_BY not in known.metadata.annotations:
        return False
    await store.apply(service, field_manager=_MANAGER, force=True)
    return True


async def remove_service(store: ResourceStore, ref: Ref) -> None:
    """Of a Gateway that is served by another proxy now. Raises `StoreError`."""
    try:
        known = await store.get(ref)
        if MANAGED_BY in known.metadata.annotations:
            await store.delete(ref, resource_version=known.metadata.resource_version)
    except NotFound:
        return
