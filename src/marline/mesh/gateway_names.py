"""How VirtualServices name the gateways that they are for."""

from typing import Final

MESH_GATEWAY: Final = "mesh"
"""The reserved name that stands for all sidecars."""


def qualified_gateways(names: tuple[str, ...], namespace: str) -> frozenset[str]:
    """Gateways as a VirtualService of a namespace names them, as `<namespace>/<name>`, and `mesh`."""
    return frozenset(
        name if name == MESH_GATEWAY else "/".join(gateway_name(name, namespace)) for name in names
    )


def gateway_name(name: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of a Gateway. One without namespace, or in `.`, is in the rule's own;
    `name.namespace.svc.cluster.local` is the old way of naming one elsewhere, as Istio still reads it."""
    own, slash, rest = name.partition("/")
    if slash:
        return (namespace if own == "." else own), rest
    first, dot, rest = name.partition(".")
    return (rest.partition(".")[0], first) if dot else (namespace, name)
