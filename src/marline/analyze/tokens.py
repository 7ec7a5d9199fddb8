"""Tokens of end users: claims that nobody verifies, keys that anybody could have sent."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from marline.analyze.findings import KEYS_WITHOUT_TLS, UNVERIFIED_CLAIM, Finding
from marline.api.networking.gateway import GatewaySpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.api.security.claims import routing_claim
from marline.api.security.request_authentication import is_loopback
from marline.mesh.model import Capture, Proxy, Role, Workload, labels_of
from marline.mesh.rules import ISTIO_GATEWAY, VIRTUAL_SERVICE, bound_gateways
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.token_policies import REQUEST_AUTHENTICATION
from marline.mesh.workload_policies import policies_for


def unverified_claims(snapshot: MeshSnapshot, proxies: tuple[Proxy, ...] | None) -> Iterator[Finding]:
    """istio.io, analysis message IST0149. Of a gateway of which no proxy is known it is said only if there is
    no policy that its proxies could have."""
    for item in sorted(snapshot.resources(*VIRTUAL_SERVICE), key=lambda each: each.ref):
        asked = list(_claims(item.spec))
        for name in sorted(bound_gateways(item)) if asked else ():
            namespace, _, own = name.partition("/")
            gateway = snapshot.resource(Ref(*ISTIO_GATEWAY, namespace, own))
            if gateway is None or _verifies(snapshot, gateway, proxies):
                continue
            for path, claim in asked:
                message = f"no RequestAuthentication is for Gateway {name}, which is to know {claim}"
                yield Finding(UNVERIFIED_CLAIM, item.ref, path, message)


def _claims(spec: VirtualServiceSpec) -> Iterator[tuple[str, str]]:
    for number, rule in enumerate(spec.http):
        for index, match in enumerate(rule.match):
            for field, names in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                for name in names:
                    if routing_claim(name) is not None:
                        yield f"spec.http[{number}].match[{index}].{field}[{name}]", name


def _verifies(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], proxies: tuple[Proxy, ...] | None
) -> bool:
    """Has every proxy of a Gateway a policy?"""
    wanted = gateway.spec.selector.items()
    found = [
        proxy
        for proxy in proxies or ()
        if proxy.role is Role.GATEWAY and wanted <= dict(proxy.workloads[0].labels).items()
    ]
    policies = snapshot.rules.tokens.policies
    if not found:
        # As if there were a proxy in the namespace of each policy.
        found = [_supposed(namespace, dict(wanted)) for namespace in policies]
        return any(_has_rules(snapshot, proxy) for proxy in found)
    return all(_has_rules(snapshot, proxy) for proxy in found)


def _supposed(namespace: str, labels: dict[str, str]) -> Proxy:
    workload = Workload(namespace, "gateway", labels=labels_of(labels))
    return Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (workload,))


def _has_rules(snapshot: MeshSnapshot, proxy: Proxy) -> bool:
    found = policies_for(snapshot, snapshot.rules.tokens.policies, proxy, proxy.workloads[0])
    return any(item.spec.jwt_rules for item in found)


def keys_without_tls(snapshot: MeshSnapshot) -> Iterator[Finding]:
    policies: list[Resource[Any]] = list(snapshot.resources(*REQUEST_AUTHENTICATION))
    for item in sorted(policies, key=lambda each: each.ref):
        for index, rule in enumerate(item.spec.jwt_rules):
            url = urlsplit(rule.jwks_uri)
            if url.scheme == "http" and not is_loopback(url.hostname or ""):
                path = f"spec.jwtRules[{index}].jwksUri"
                yield Finding(KEYS_WITHOUT_TLS, item.ref, path, f"{rule.jwks_uri} is fetched without TLS")
