"""AuthorizationPolicies that have a service asked which cannot be asked."""

from collections.abc import Iterator

from marline.analyze.findings import NOT_FOUND, Finding
from marline.compile.authorizers import find_authorizer
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope


def missing_providers(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in snapshot.resources("security.istio.io", "AuthorizationPolicy"):
        if item.spec.action != "CUSTOM" or item.spec.provider is None:
            continue
        fault = find_authorizer(snapshot, Scope(item.namespace), item.spec.provider.name).fault
        if fault:
            message = f"{fault}: nothing that its rules cover passes"
            yield Finding(NOT_FOUND, item.ref, "spec.provider.name", message)
