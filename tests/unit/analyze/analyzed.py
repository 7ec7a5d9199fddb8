"""Resources as short YAML, and what is found in them."""

from typing import Any

import yaml

from marline.analyze.checks import analyze
from marline.analyze.findings import Finding
from marline.api.decode import decode
from marline.mesh.model import ChangeSet, MeshSettings, Proxy
from marline.mesh.snapshot import MeshSnapshot, advance, empty

SHORT = {
    "svc": ("v1", "Service"),
    "we": ("networking.istio.io/v1", "WorkloadEntry"),
    "vs": ("networking.istio.io/v1", "VirtualService"),
    "dr": ("networking.istio.io/v1", "DestinationRule"),
    "gw": ("networking.istio.io/v1", "Gateway"),
    "se": ("networking.istio.io/v1", "ServiceEntry"),
    "sc": ("networking.istio.io/v1", "Sidecar"),
    "ef": ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    "pa": ("security.istio.io/v1", "PeerAuthentication"),
    "ra": ("security.istio.io/v1", "RequestAuthentication"),
    "hr": ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    "ap": ("security.istio.io/v1", "AuthorizationPolicy"),
    "secret": ("v1", "Secret"),
    "cm": ("v1", "ConfigMap"),
}
"""By the word that begins a line of `mesh`."""


def mesh(text: str) -> MeshSnapshot:
    """Each line `KIND [NAMESPACE/]NAME {spec}` is a resource; `@{…}` after it, what else its object has. Of
    resources that are older the line is earlier."""
    made = []
    for second, line in enumerate(line for line in text.strip().splitlines() if line.strip()):
        kind, name, rest = line.strip().split(" ", 2)
        spec, _, more = rest.partition(" @")
        made.append(decode(_object(kind, name, yaml.safe_load(spec), yaml.safe_load(more or "{}"), second)))
    return advance(empty(MeshSettings()), ChangeSet(tuple(made), (), "1"))[0]


def _object(kind: str, name: str, spec: Any, more: dict[str, Any], second: int) -> dict[str, Any]:
    api_version, long = SHORT[kind]
    namespace, slash, own = name.partition("/")
    metadata = {
        "name": own if slash else name,
        "namespace": namespace if slash else "default",
        "creationTimestamp": f"2026-01-01T00:00:{second:02}Z",
        **more.pop("metadata", {}),
    }
    body = spec if api_version == "v1" and long != "Service" else {"spec": spec}
    return {"apiVersion": api_version, "kind": long, "metadata": metadata, **body, **more}


def found(text: str, proxies: tuple[Proxy, ...] | None = None) -> tuple[Finding, ...]:
    return analyze(mesh(text), proxies)


def places(text: str, proxies: tuple[Proxy, ...] | None = None) -> list[str]:
    """`CODE name path` of each finding."""
    return [f"{item.code.code} {item.ref.name} {item.path}" for item in found(text, proxies)]
