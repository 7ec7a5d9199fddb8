"""What Gateways (of either API) and ListenerSets read beside routes. Most Secrets, ConfigMaps and
Namespaces are nothing to them.
"""

from collections.abc import Iterator
from typing import Any, Final

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.networking.gateway import GatewaySpec as IstioGatewaySpec
from marline.api.resource import Ref, Resource

CA_SUFFIX: Final = "-cacert"
"""A Secret of that name belongs to the credential whose name stands before (istio.io, "Secure Gateways")."""
DEFAULT_ROUTES: Final = "/"
"""In the place of a name: the routes that are for default Gateways."""
_LABELS: Final = ""
"""In the place of a name: the labels of namespaces."""
_NAMESPACE: Final = ("", "Namespace")


def reads(item: Resource[Any]) -> set[str]:
    """The names of the Secrets and ConfigMaps that it may refer to, in whatever namespaces, and what else."""
    if isinstance(item.spec, IstioGatewaySpec):
        return set(_credentials(item.spec))
    found = set(_references(item))
    if _selects_namespaces(item):
        found.add(_LABELS)
    if isinstance(item.spec, GatewaySpec) and item.spec.default_scope == "All":
        found.add(DEFAULT_ROUTES)
    return found


def read_as(ref: Ref) -> set[str]:
    """As what a Secret, ConfigMap or Namespace is read."""
    if (ref.group, ref.kind) == _NAMESPACE:
        return {_LABELS}
    return {ref.name, ref.name.removesuffix(CA_SUFFIX)}


def _credentials(spec: IstioGatewaySpec) -> Iterator[str]:
    for server in spec.servers:
        if server.tls is not None:
            yield from (*server.tls.credentials, server.tls.ca_cert_credential_name)


def _references(item: Resource[Any]) -> Iterator[str]:
    for listener in item.spec.listeners:
        if listener.tls is not None:
            yield from (reference.name for reference in listener.tls.certificate_refs)
    tls = item.spec.tls if isinstance(item.spec, GatewaySpec) else None
    if tls is not None and tls.backend is not None and tls.backend.client_certificate_ref is not None:
        yield tls.backend.client_certificate_ref.name
    if tls is not None and tls.frontend is not None:
        for own in (tls.frontend.default, *(port.tls for port in tls.frontend.per_port)):
            if own.validation is not None:
                yield from (reference.name for reference in own.validation.ca_certificate_refs)


def _selects_namespaces(item: Resource[Any]) -> bool:
    allowed = [listener.allowed_routes for listener in item.spec.listeners]
    if isinstance(item.spec, GatewaySpec):
        allowed.append(item.spec.allowed_listeners)
    namespaces = (one.namespaces for one in allowed if one is not None)
    return any(one is not None and one.from_ == "Selector" for one in namespaces)
