"""What gateways read of the mesh: Gateways, the routes bound to them, Secrets, grants."""

from collections.abc import Iterable, Mapping
from typing import Final

from marline.api.core import SecretBody
from marline.api.gateway_api.gateway import GatewaySpec as ApiGatewaySpec
from marline.api.gateway_api.gateway_class import GatewayClassSpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.reference_grant import ReferenceGrantSpec
from marline.api.gateway_api.shared import GROUP
from marline.api.networking.gateway import GatewaySpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_grpc import GRPC_ROUTE, as_http
from marline.compile.gateway_tls import (
    CA_SUFFIX,
    Termination,
    ca_fault,
    ca_name,
    ca_recipe,
    certificate_fault,
    certificate_name,
    certificate_recipe,
    has_ca,
)
from marline.compile.resource import Recipe
from marline.compile.routes_active import is_bound
from marline.compile.routes_lookup import source_labels
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age, is_exported

CLASSES: Final = ("marline", "istio")
"""The names of Gateway classes that need no GatewayClass resource."""
CONTROLLERS: Final = ("marline.dev/gateway-controller", "istio.io/gateway-controller")


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


def bound_virtual_services(
    snapshot: MeshSnapshot, gateway: str, namespace: str
) -> list[Resource[VirtualServiceSpec]]:
    """The VirtualServices that speak for a gateway (`<namespace>/<name>`) and are exported to the
    namespace of its proxy."""
    return sorted(
        (
            item
            for item in snapshot.resources("networking.istio.io", "VirtualService")
            if is_bound(item, gateway) and is_exported(item.spec.export_to, item.namespace, namespace)
        ),
        key=age,
    )


def usable_certificate(snapshot: MeshSnapshot, namespaces: Iterable[str], name: str) -> str | None:
    """The SDS name of a credential's certificate, in the first of the namespaces that has it; None
    when it does not exist there or Envoy could not use it."""
    for namespace in namespaces:
        secret = _secret(snapshot, namespace, name)
        if secret is not None:
            return None if certificate_fault(secret) else certificate_name(namespace, name)
    return None


def usable_ca(snapshot: MeshSnapshot, namespaces: Iterable[str], name: str) -> str | None:
    """The SDS name of the CA for a credential's clients: from `<name>-cacert`, else from `ca.crt` in the
    credential itself (istio.io, "Secure Gateways")."""
    for namespace in namespaces:
        secret = ca_secret(snapshot, namespace, name)
        if secret is not None:
            return None if ca_fault(secret) else ca_name(namespace, name)
    return None


def ca_secret(snapshot: MeshSnapshot, namespace: str, name: str) -> Resource[SecretBody] | None:
    separate = _secret(snapshot, namespace, f"{name}{CA_SUFFIX}")
    if separate is not None:
        return separate
    own = _secret(snapshot, namespace, name)
    return own if own is not None and has_ca(own) else None


def _secret(snapshot: MeshSnapshot, namespace: str, name: str) -> Resource[SecretBody] | None:
    return snapshot.resource(Ref("", "Secret", namespace, name))


def secret_recipes(snapshot: MeshSnapshot, terminations: Iterable[Termination]) -> tuple[Recipe, ...]:
    """The Secrets that servers refer to, each once."""
    recipes: dict[str, Recipe] = {}
    for termination in terminations:
        for name in termination.certificates:
            secret = _secret(snapshot, *split_name(name))
            if secret is not None:
                recipes[name] = certificate_recipe(name, secret)
        if termination.client_ca:
            secret = ca_secret(snapshot, *split_name(termination.client_ca.removesuffix(CA_SUFFIX)))
            if secret is not None:
                recipes[termination.client_ca] = ca_recipe(termination.client_ca, secret)
    return tuple(recipes.values())


def split_name(name: str) -> tuple[str, str]:
    """Namespace and name of a `kubernetes://` SDS name."""
    namespace, _, rest = name.removeprefix("kubernetes://").partition("/")
    return namespace, rest


def gateway_classes(snapshot: MeshSnapshot) -> list[Resource[GatewayClassSpec]]:
    return sorted(snapshot.resources(GROUP, "GatewayClass"), key=age)


def api_gateways(snapshot: MeshSnapshot) -> list[Resource[ApiGatewaySpec]]:
    return sorted(snapshot.resources(GROUP, "Gateway"), key=age)


def api_routes(snapshot: MeshSnapshot) -> list[Resource[HTTPRouteSpec]]:
    """HTTPRoutes, and GRPCRoutes in the form of HTTPRoutes, oldest first."""
    grpc = (as_http(route) for route in snapshot.resources(GROUP, GRPC_ROUTE))
    return sorted((*snapshot.resources(GROUP, "HTTPRoute"), *grpc), key=age)


def reference_grants(snapshot: MeshSnapshot) -> list[Resource[ReferenceGrantSpec]]:
    return list(snapshot.resources(GROUP, "ReferenceGrant"))


def is_managed(snapshot: MeshSnapshot, gateway: Resource[ApiGatewaySpec]) -> bool:
    """Is a Gateway of one of Marline's classes? A GatewayClass of that name decides, when there is one."""
    name = gateway.spec.gateway_class_name
    declared = snapshot.resource(Ref(GROUP, "GatewayClass", "", name))
    if declared is not None:
        return declared.spec.controller_name in CONTROLLERS
    return name in CLASSES


def namespace_labels(snapshot: MeshSnapshot) -> Mapping[str, Mapping[str, str]]:
    """Labels of namespaces, with the one that Kubernetes gives each: its own name."""
    return {
        item.name: {"kubernetes.io/metadata.name": item.name, **item.metadata.labels}
        for item in snapshot.resources("", "Namespace")
    }
