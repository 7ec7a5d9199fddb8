"""Small meshes from YAML, and the proxies that ask for routes in them."""

from typing import Any

import yaml
from google.protobuf.message import Message

from marline.api.decode import decode
from marline.compile.gateway import gateway_host_recipes, gateway_hosts, gateway_recipes
from marline.compile.passthrough import PLACEHOLDER
from marline.compile.resource import VIRTUAL_HOST, Recipe
from marline.mesh.model import Capture, ChangeSet, GatewayPort, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty


def mesh(text: str) -> MeshSnapshot:
    """A snapshot of the resources in YAML documents; namespace `default`, oldest first unless they say
    otherwise."""
    changed = []
    for index, obj in enumerate(item for item in yaml.safe_load_all(text) if item):
        metadata: dict[str, Any] = obj["metadata"]
        if obj["kind"] not in ("Namespace", "GatewayClass"):
            metadata.setdefault("namespace", "default")
        metadata.setdefault("creationTimestamp", f"2026-01-01T00:00:{index:02d}Z")
        changed.append(decode(obj))
    return advance(empty(MeshSettings()), ChangeSet(tuple(changed), (), "1"))[0]


def service(name: str, *ports: int, namespace: str = "default") -> str:
    """A Service with HTTP ports, as YAML."""
    lines = "".join(f"  - {{name: http-{port}, port: {port}}}\n" for port in ports)
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports:
{lines}"""


def sidecar(namespace: str = "default", capture: Capture = Capture.TRANSPARENT, **labels: str) -> Proxy:
    workload = Workload(namespace, "client", labels=tuple(sorted(labels.items())))
    return Proxy("sidecar", Role.SIDECAR, capture, (workload,))


def ingress(*ports: tuple[int, int], namespace: str = "istio-system", **labels: str) -> Proxy:
    chosen = labels or {"istio": "ingressgateway"}
    workload = Workload(namespace, "ingress", labels=tuple(sorted(chosen.items())))
    mapped = tuple(GatewayPort(number, listen) for number, listen in ports)
    return Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (workload,), "127.0.0.1", mapped)


def built(recipes: tuple[Recipe, ...]) -> dict[str, Message]:
    """The Envoy resources by name; recipes must be hashable and their names unique."""
    made = {recipe.name: recipe.build(*recipe.inputs) for recipe in recipes}
    assert len(made) == len(recipes)
    assert all(hash(recipe.inputs) is not None for recipe in recipes)
    return made


def gateway_view(snapshot: MeshSnapshot, proxy: Proxy) -> tuple[Recipe, ...]:
    """All that a gateway's proxy is given, but for clusters."""
    hosts = sorted(gateway_hosts(snapshot))
    routed = (recipe for host in hosts for recipe in gateway_host_recipes(snapshot, proxy, host))
    return (*gateway_recipes(snapshot, proxy), *routed)


def gateway_built(snapshot: MeshSnapshot, proxy: Proxy) -> dict[str, Any]:
    """The Envoy resources by name, virtual hosts in their tables."""
    view = gateway_view(snapshot, proxy)
    made: dict[str, Any] = built(view)
    for recipe in view:
        table, _, host = recipe.name.rpartition("/")
        if recipe.type_url == VIRTUAL_HOST:
            found = made.pop(recipe.name)
            if host != PLACEHOLDER:
                assert found.name == recipe.name
                found.name = host
                made[table].virtual_hosts.append(found)
    return made
