"""Where resources are on a server (kubernetes.io, "API Concepts", "Resource URIs")."""

from collections.abc import Mapping
from urllib.parse import quote

from marline.api.decode import describe
from marline.api.errors import FieldError, InvalidResource
from marline.api.registry import Kind, kind_of
from marline.api.resource import Ref
from marline.store.interface import NotFound


def collection_path(kind: Kind, namespace: str, version: str = "") -> str:
    """Of all namespaces if `namespace` is empty, in the preferred version if `version` is."""
    version = version or kind.version
    base = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    space = f"/namespaces/{quote(namespace, safe='')}" if kind.namespaced and namespace else ""
    return f"{base}{space}/{kind.plural}"


def resource_path(ref: Ref, subresource: str = "", version: str = "") -> str:
    """Raises `NotFound` for a kind that is not known."""
    path = f"{collection_path(known_kind(ref), ref.namespace, version)}/{quote(ref.name, safe='')}"
    return f"{path}/{subresource}" if subresource else path


def known_kind(ref: Ref) -> Kind:
    kind = kind_of(ref.group, ref.kind)
    if kind is None:
        raise NotFound(ref)
    return kind


def version_of(obj: Mapping[str, object]) -> str:
    """The version that an object is written in, without the group."""
    return str(obj.get("apiVersion") or "").rpartition("/")[2]


def ref_of(obj: Mapping[str, object]) -> Ref:
    """What an object is called; the namespace of namespaced kinds is `default` if it says none. Raises
    `InvalidResource` for an object without a kind that is known."""
    group, _, _ = str(obj.get("apiVersion") or "").rpartition("/")
    kind = kind_of(group, str(obj.get("kind") or ""))
    metadata = obj.get("metadata")
    if kind is None or not isinstance(metadata, dict):
        message = f"no kind {obj.get('kind')!r} is known in {obj.get('apiVersion')!r}"
        fault = FieldError("metadata", "is required") if kind else FieldError("kind", message)
        raise InvalidResource(describe(obj), (fault,))
    namespace = str(metadata.get("namespace") or "default") if kind.namespaced else ""
    return Ref(group, kind.kind, namespace, str(metadata.get("name") or ""))
