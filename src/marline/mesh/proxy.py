"""A `Proxy` as node metadata: what an Envoy's bootstrap says and the control plane reads back."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from marline.mesh.model import Capture, Proxy

METADATA_KEY: Final = "MARLINE"
"""The key of Envoy's node metadata under which the description stands."""
_ISTIO_VERSION: Final = "1.32.0"
"""The Istio whose proxies are of the same Envoy: people who ask for a version mean what that Envoy takes."""


class MalformedProxy(ValueError):
    """Node metadata that describes no proxy; the message says what is wrong, with its path."""


def to_metadata(proxy: Proxy) -> dict[str, Any]:
    """Envoy's `node.metadata`: plain JSON. The node id stands beside it, so it is left out."""
    described: dict[str, Any] = msgspec.to_builtins(proxy)
    del described["node_id"]
    return {**node_metadata(proxy), METADATA_KEY: described}


def node_metadata(proxy: Proxy) -> dict[str, str]:
    """What a proxy says of itself in Istio's words; EnvoyFilters may ask for it (`match.proxy`)."""
    workload = proxy.workloads[0]
    return {
        "NAME": workload.name,
        "NAMESPACE": workload.namespace,
        "SERVICE_ACCOUNT": workload.service_account,
        "INTERCEPTION_MODE": "REDIRECT" if proxy.capture is Capture.TRANSPARENT else "NONE",
        "ISTIO_VERSION": _ISTIO_VERSION,
    }


def from_metadata(node_id: str, metadata: Mapping[str, Any]) -> Proxy:
    """The proxy that an Envoy says it is. Numbers may be floats, as protobuf's Struct has only those.

    Raises `MalformedProxy`.
    """
    described = metadata.get(METADATA_KEY)
    if not isinstance(described, Mapping):
        raise MalformedProxy(f"node {node_id!r} has no {METADATA_KEY} metadata")
    try:
        proxy = msgspec.convert({**_whole(described), "node_id": node_id}, Proxy)
    except msgspec.ValidationError as error:
        raise MalformedProxy(f"node {node_id!r}: {error}") from error
    if not proxy.workloads:
        raise MalformedProxy(f"node {node_id!r} serves no workload")
    return proxy


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
