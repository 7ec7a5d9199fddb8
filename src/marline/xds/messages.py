"""What goes over one stream, as values: requests of an Envoy, responses to it, and what follows from both."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from marline.api.resource import Ref
from marline.compile.resource import Blob
from marline.mesh.model import Proxy
from marline.mesh.proxy import MalformedProxy, from_metadata


@dataclass(frozen=True, slots=True)
class Request:
    """A `DeltaDiscoveryRequest`."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    """What the proxy has from before this stream; in the first request of a type only."""
    nonce: str = ""
    """The response that this acknowledges or rejects; "": none."""
    error: str | None = None
    """Why it is rejected; None: it is not."""


@dataclass(frozen=True, slots=True)
class Response:
    """A `DeltaDiscoveryResponse`."""

    type_url: str
    nonce: str
    blobs: tuple[Blob, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy keeps the last good version of a resource and does not take this one."""

    type_url: str
    name: str
    message: str
    sources: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was refused before stands no longer: the resource was taken, changed, or is not wanted."""

    type_url: str
    name: str


Effect = Response | Refused | Settled


def decode(message: discovery_pb2.DeltaDiscoveryRequest) -> Request:
    return Request(
        message.type_url,
        tuple(message.resource_names_subscribe),
        tuple(message.resource_names_unsubscribe),
        dict(message.initial_resource_versions),
        message.response_nonce,
        message.error_detail.message if message.HasField("error_detail") else None,
    )


def proxy_of(node: base_pb2.Node) -> Proxy:
    """Who introduces itself. Raises `MalformedProxy`."""
    try:
        metadata = json_format.MessageToDict(node.metadata)
    except (ValueError, json_format.Error) as error:  # such as a number that JSON cannot say
        raise MalformedProxy(f"node {node.id!r}: {error}") from error
    return from_metadata(node.id, metadata)


def encode(response: Response) -> bytes:
    """The bytes of a response; its resources were serialised when they were made."""
    head = discovery_pb2.DeltaDiscoveryResponse(
        type_url=response.type_url, nonce=response.nonce, removed_resources=response.removed
    )
    return b"".join((head.SerializeToString(), *(blob.wire for blob in response.blobs)))
