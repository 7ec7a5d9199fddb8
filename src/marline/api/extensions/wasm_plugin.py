"""WasmPlugin: WebAssembly filters in proxies (istio.io, "Wasm Plugin" reference).

Modules are local files with a checksum. The control plane copies a module whose checksum is right to a place
that is named by it, and proxies run that copy: so what runs is what was named, also when the file changes.
"""

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.refusals import Refusals
from marline.api.resource import Resource

FILE: Final = "file://"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FETCHED: Final = "modules are local files; fetch it, and give its file:// URL and its sha256"


class EnvVar(Model, frozen=True):
    name: str
    value_from: Literal["INLINE", "HOST"] = "INLINE"
    value: str = ""


class VmConfig(Model, frozen=True):
    env: tuple[EnvVar, ...] = ()


class PortSelector(Model, frozen=True):
    number: Annotated[int, Meta(ge=1, le=65535)]


class TrafficSelector(Model, frozen=True):
    mode: Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"] = "CLIENT_AND_SERVER"
    ports: tuple[PortSelector, ...] = ()


class WasmPluginSpec(Model, frozen=True):
    url: str
    sha256: str = ""
    selector: Selector | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    plugin_config: dict[str, Any] = {}
    plugin_name: str = ""
    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED_PHASE"
    priority: int = 0
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = "FAIL_CLOSE"
    type: Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"] = "UNSPECIFIED_PLUGIN_TYPE"
    match: tuple[TrafficSelector, ...] = ()
    vm_config: VmConfig | None = None
    image_pull_policy: Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"] = "UNSPECIFIED_POLICY"
    image_pull_secret: str = ""
    verification_key: str = ""


REFUSED: Final[Refusals] = {
    "imagePullPolicy": "it is for images; modules are local files",
    "imagePullSecret": "it is for images; modules are local files",
    "verificationKey": "signatures are not verified; sha256 says which module is meant",
    "targetRefs[].namespace": "a target is in the namespace of its WasmPlugin",
}


def validate(resource: Resource[WasmPluginSpec], faults: Faults) -> None:
    """Istio's rules for a WasmPlugin, for modules that are local files."""
    spec = resource.spec
    if not spec.url.startswith(FILE):
        faults.at("url").unsupported(f"{spec.url!r} is not acted on: {_FETCHED}")
    elif not spec.url.startswith(FILE + "/"):
        faults.at("url").add(f"{spec.url!r} is no absolute path; expected file:///…/module.wasm")
    if not spec.sha256:
        faults.at("sha256").add(
            "is required: the SHA-256 of the module, such as sha256sum says it", Fault.REQUIRED
        )
    elif not _SHA256.fullmatch(spec.sha256):
        faults.at("sha256").add(
            f"{spec.sha256!r} is no SHA-256 checksum: 64 hexadecimal digits in lower case"
        )
    if spec.selector is not None:
        rules.labels(spec.selector.match_labels, faults.at("selector").at("matchLabels"))
        if spec.target_refs:
            faults.at("targetRefs").add("cannot be combined with selector")
    rules.gateway_targets(spec.target_refs, faults.at("targetRefs"))
    _environment(spec, faults.at("vmConfig").at("env"))


def _environment(spec: WasmPluginSpec, faults: Faults) -> None:
    variables = spec.vm_config.env if spec.vm_config is not None else ()
    rules.named_once([item.name for item in variables], faults, "variable")
    for index, item in enumerate(variables):
        faults.item(index).required(item.name, "name")
        if item.value_from == "HOST" and item.value:
            faults.item(index).at("value").add("is the host's with valueFrom HOST")
