"""The GatewayClass that a mesh brings: Gateways name it, and its status says what Marline can do.

As Istio does for its class `istio` (istio.io, "Kubernetes Gateway API"), it is made where it is missing, and
left alone where it is there, whatever a user made of it.
"""

import logging
from typing import Any, Final

from marline.compile.gateway_api_conditions import CONTROLLER
from marline.store.interface import AlreadyExists, ResourceStore

GATEWAY_CLASS: Final[dict[str, Any]] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "marline"},
    "spec": {"controllerName": CONTROLLER, "description": "Gateways served by Envoys of the Marline mesh"},
}

_log = logging.getLogger(__name__)


async def provide_gateway_class(store: ResourceStore) -> None:
    """Once, when the control plane starts: who deletes it does without it until then. Raises `StoreError`."""
    try:
        await store.create(GATEWAY_CLASS)
    except AlreadyExists:
        return
    _log.info("made GatewayClass %s", GATEWAY_CLASS["metadata"]["name"])
