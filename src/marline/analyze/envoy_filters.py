"""Patches whose effect hangs on an order that nobody has said."""

from collections.abc import Iterator
from typing import Any, Final

from marline.analyze.findings import RELATIVE_OPERATION, RELATIVE_OPERATION_AT_VERSION, Finding
from marline.api.networking.envoy_filter import EnvoyConfigObjectPatch
from marline.api.resource import Resource
from marline.mesh.patches import ENVOY_FILTER
from marline.mesh.snapshot import MeshSnapshot

_RELATIVE: Final = ("INSERT_BEFORE", "INSERT_AFTER", "REPLACE", "REMOVE")


def relative_operations(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """istio.io, analysis messages IST0151 and IST0155; of a patch for which both hold the second says more.

    Of IST0152 to IST0154, operations that Istio ignores, there are none: what does nothing here is refused.
    """
    for item in sorted(snapshot.resources(*ENVOY_FILTER), key=lambda item: item.ref):
        if item.spec.priority == 0:
            yield from _of_resource(item)


def _of_resource(item: Resource[Any]) -> Iterator[Finding]:
    for index, one in enumerate(item.spec.config_patches):
        if one.patch.operation in _RELATIVE:
            code = RELATIVE_OPERATION_AT_VERSION if _names_version(one) else RELATIVE_OPERATION
            message = (
                f"{one.patch.operation} refers to what is there already, and the resource has no priority"
            )
            yield Finding(code, item.ref, f"spec.configPatches[{index}].patch.operation", message)


def _names_version(one: EnvoyConfigObjectPatch) -> bool:
    return one.match.proxy is not None and bool(one.match.proxy.proxy_version)
