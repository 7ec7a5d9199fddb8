"""Client certificates and CAs from Secrets: DestinationRule `tls.credentialName`.

istio.io, `ClientTLSSettings`: the Secret is in the namespace of the proxy. Gateways may use those of any
rule; sidecars only those of rules that select their workload, so that no key reaches others.
"""

from marline.api.networking.destination_rule import DestinationRuleSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_lookup import ca_secret
from marline.compile.gateway_tls import CA_SUFFIX, ca_fault, ca_recipe, certificate_fault, certificate_recipe
from marline.compile.resource import Recipe
from marline.compile.tls import credential_secret
from marline.mesh.destinations import DestinationPolicy, is_selective, selects
from marline.mesh.model import Proxy, Role
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import is_exported


def credential_recipes(snapshot: MeshSnapshot, proxy: Proxy, name: str) -> tuple[Recipe, ...]:
    """What a proxy may have of a credential: its certificate, and the CA that goes with it. What is missing
    or unusable is left out, so that connections fail which need it."""
    rules = (snapshot.resource(ref) for ref in snapshot.rules.credentials.get(name, ()))
    if not any(rule is not None and _applies(rule, proxy) for rule in rules):
        return ()
    namespace = proxy.workloads[0].namespace
    found = credential_secret(namespace, name)
    recipes: list[Recipe] = []
    secret = snapshot.resource(Ref("", "Secret", namespace, name))
    if secret is not None and not certificate_fault(secret):
        recipes.append(certificate_recipe(found, secret))
    authority = ca_secret(snapshot, namespace, name)
    if authority is not None and not ca_fault(authority):
        recipes.append(ca_recipe(f"{found}{CA_SUFFIX}", authority))
    return tuple(recipes)


def may_use_credentials(rule: DestinationPolicy, proxy: Proxy) -> bool:
    """Does `credentialName` mean something in a rule that applies to a proxy?"""
    return proxy.role is Role.GATEWAY or any(is_selective(item) for item in rule.resources)


def _applies(rule: Resource[DestinationRuleSpec], proxy: Proxy) -> bool:
    workload = proxy.workloads[0]
    if is_selective(rule):
        return rule.namespace == workload.namespace and selects(rule, dict(workload.labels))
    return proxy.role is Role.GATEWAY and is_exported(rule.spec.export_to, rule.namespace, workload.namespace)
