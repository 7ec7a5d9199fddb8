"""What gateways read of the mesh: Gateways, the routes bound to them, Secrets, grants."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from marline.api.core import ConfigMapBody, SecretBody
from marline.api.gateway_api.gateway import GatewaySpec as ApiGatewaySpec
from marline.api.gateway_api.gateway_class import GatewayClassSpec
from marline.api.gateway_api.reference_grant import ReferenceGrantSpec
from marline.api.gateway_api.shared import GROUP
from marline.api.networking.gateway import GatewaySpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_grpc import GRPC_ROUTE, as_http
from marline.compile.gateway_tls import (
    CA_SUFFIX,
    Body,
    Termination,
    ca_fault,
    ca_name,
    ca_recipe,
    certificate_fault,
    certificate_name,
    certificate_recipe,
    config_map_ca_name,
    file_recipe,
    has_ca,
)
from marline.compile.resource import Recipe
from marline.compile.routes_lookup import source_labels
from marline.mesh.hosts import patterns_for
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age, is_exported

_ROUTES: Final = ("HTTPRoute", "TLSRoute", "TCPRoute", "UDPRoute")


def istio_gateways(snapshot: MeshSnapshot, proxy: Proxy) -> list[Resource[GatewaySpec]]:
    """The Gateways whose selector (all of its labels; none: any gateway) fits a proxy's workload."""
    labels = source_labels(proxy)
    return sorted(
        (
            gateway
            for gateway in snapshot.resources("networking.istio.io", "Gateway")
            if all(labels.get(key) == value for key, value in gateway.spec.selector.items())
        ),
        key=age,
    )


def connecting_virtual_services(
    snapshot: MeshSnapshot, gateway: str, namespace: str
) -> list[Resource[VirtualServiceSpec]]:
    """The VirtualServices that route connections of a gateway (`<namespace>/<name>`) and are exported to the
    namespace of its proxy, oldest first."""
    found = snapshot.rules.connecting.get(gateway, ())
    return [item for item in found if is_exported(item.spec.export_to, item.namespace, namespace)]


def virtual_services_for(
    snapshot: MeshSnapshot, gateway: str, namespace: str, host: str
) -> list[Resource[VirtualServiceSpec]]:
    """Likewise those for a host, or for more than that host."""
    table = snapshot.rules.bound
    found = {item.ref: item for name in patterns_for(host) for item in table.get((gateway, name), ())}
    exported = (
        item for item in found.values() if is_exported(item.spec.export_to, item.namespace, namespace)
    )
    return sorted(exported, key=age)


def find_certificate(snapshot: MeshSnapshot, namespaces: Iterable[str], name: str) -> tuple[str, str]:
    """The SDS name of a credential's certificate, from the first of the namespaces that has it; or "" and
    why there is none."""
    places = tuple(dict.fromkeys(namespaces))
    for namespace in places:
        secret = _secret(snapshot, namespace, name)
        if secret is not None:
            fault = certificate_fault(secret)
            return ("", fault) if fault else (certificate_name(namespace, name), "")
    return "", f"there is no Secret {name!r} in namespace {' or '.join(places)}"


def usable_certificate(snapshot: MeshSnapshot, namespaces: Iterable[str], name: str) -> str | None:
    """As `find_certificate`; None when it does not exist or Envoy could not use it."""
    return find_certificate(snapshot, namespaces, name)[0] or None


def find_ca(snapshot: MeshSnapshot, namespaces: Iterable[str], name: str) -> tuple[str, str]:
    """The SDS name of the CA for clients that goes with a credential: from `<name>-cacert`, else from
    `ca.crt` in the credential itself, else from a ConfigMap of its name (istio.io, "Secure Gateways", "Key
    formats"); or "" and why there is none."""
    places = tuple(dict.fromkeys(namespaces))
    for namespace in places:
        secret, config_map = ca_secret(snapshot, namespace, name), _config_map(snapshot, namespace, name)
        holder: Resource[Body] | None = secret or config_map
        if holder is not None:
            fault = ca_fault(holder)
            found = ca_name(namespace, name) if secret else config_map_ca_name(namespace, name)
            return ("", fault) if fault else (found, "")
    return (
        "",
        f"there is no Secret {name + CA_SUFFIX!r}, and no {name!r} with ca.crt, in {' or '.join(places)}",
    )


def ca_secret(snapshot: MeshSnapshot, namespace: str, name: str) -> Resource[SecretBody] | None:
    separate = _secret(snapshot, namespace, f"{name}{CA_SUFFIX}")
    if separate is not None:
        return separate
    own = _secret(snapshot, namespace, name)
    return own if own is not None and has_ca(own) else None


def _secret(snapshot: MeshSnapshot, namespace: str, name: str) -> Resource[SecretBody] | None:
    return snapshot.resource(Ref("", "Secret", namespace, name))


def _config_map(snapshot: MeshSnapshot, namespace: str, name: str) -> Resource[ConfigMapBody] | None:
    return snapshot.resource(Ref("", "ConfigMap", namespace, name))


def secret_recipes(
    snapshot: MeshSnapshot, terminations: Iterable[tuple[Termination, Ref]]
) -> tuple[Recipe, ...]:
    """What servers terminate TLS with, each once; beside a termination stands the resource that asks."""
    recipes: dict[str, Recipe] = {}
    for termination, source in terminations:
        for name in termination.certificates:
            _add(recipes, name, file_recipe(name, source) or _certificate_recipe(snapshot, name))
        if name := termination.client_ca:
            _add(recipes, name, file_recipe(name, source) or _ca_recipe(snapshot, name))
    return tuple(recipes.values())


def _add(recipes: dict[str, Recipe], name: str, recipe: Recipe | None) -> None:
    if recipe is not None:
        recipes.setdefault(name, recipe)


def _certificate_recipe(snapshot: MeshSnapshot, name: str) -> Recipe | None:
    secret = _secret(snapshot, *split_name(name)[1:])
    return certificate_recipe(name, secret) if secret is not None else None


def _ca_recipe(snapshot: MeshSnapshot, name: str) -> Recipe | None:
    kind, namespace, own = split_name(name.removesuffix(CA_SUFFIX))
    find = _config_map if kind == "configmap" else ca_secret
    holder: Resource[Body] | None = find(snapshot, namespace, own)
    return ca_recipe(name, holder) if holder is not None else None


def split_name(name: str) -> tuple[str, str, str]:
    """Kind (`kubernetes`, `configmap`), namespace and name of an SDS name."""
    kind, _, rest = name.partition("://")
    namespace, _, own = rest.partition("/")
    return kind, namespace, own


def gateway_classes(snapshot: MeshSnapshot) -> list[Resource[GatewayClassSpec]]:
    return sorted(snapshot.resources(GROUP, "GatewayClass"), key=age)


def api_gateways(snapshot: MeshSnapshot) -> list[Resource[ApiGatewaySpec]]:
    return sorted(snapshot.resources(GROUP, "Gateway"), key=age)


def api_routes(snapshot: MeshSnapshot) -> list[Resource[Any]]:
    """The routes of every kind, in their order."""
    return in_order(route for kind in (*_ROUTES, GRPC_ROUTE) for route in snapshot.resources(GROUP, kind))


def in_order(routes: Iterable[Resource[Any]]) -> list[Resource[Any]]:
    """Oldest first; GRPCRoutes in the form of HTTPRoutes, and before those of their age."""
    found = (as_http(route) if route.kind == GRPC_ROUTE else route for route in routes)
    return sorted(found, key=lambda route: (*age(route), route.kind))


def reference_grants(snapshot: MeshSnapshot) -> list[Resource[ReferenceGrantSpec]]:
    return list(snapshot.resources(GROUP, "ReferenceGrant"))


def namespace_labels(snapshot: MeshSnapshot) -> Mapping[str, Mapping[str, str]]:
    """Labels of namespaces, with the one that Kubernetes gives each: its own name."""
    return NamespaceLabels(snapshot.kinds.get(("", "Namespace"), {}))


class NamespaceLabels(Mapping[str, Mapping[str, str]]):
    """Made when they are asked for: those of most namespaces never are."""

    def __init__(self, namespaces: Mapping[Ref, Resource[Any]]) -> None:
        self._namespaces = namespaces

    def __getitem__(self, name: str) -> Mapping[str, str]:
        found = self._namespaces[Ref("", "Namespace", "", name)]
        return {"kubernetes.io/metadata.name": name, **found.metadata.labels}

    def __iter__(self) -> Iterator[str]:
        return (ref.name for ref in self._namespaces)

    def __len__(self) -> int:
        return len(self._namespaces)
