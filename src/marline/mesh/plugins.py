"""WasmPlugins as patches: a filter that each of the chosen filter chains gets, at the place of its phase."""

import json
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.http.wasm.v3 import wasm_pb2 as http_wasm_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm_pb2
from envoy.extensions.wasm.v3 import wasm_pb2
from google.protobuf import wrappers_pb2

from marline.api.extensions.wasm_plugin import TrafficSelector, WasmPluginSpec
from marline.api.resource import Resource
from marline.mesh.model import MeshSettings, PatchId
from marline.mesh.patches import Patch, PatchSet
from marline.mesh.selection import select

WASM_PLUGIN: Final = ("extensions.istio.io", "WasmPlugin")
_CONTEXTS: Final = {"CLIENT": ("SIDECAR_OUTBOUND", "GATEWAY"), "SERVER": ("SIDECAR_INBOUND",)}
"""Traffic of a gateway is a client's (istio.io, "Wasm Plugin", `TrafficSelector`)."""
_POLICIES: Final = {
    "FAIL_CLOSE": wasm_pb2.FailurePolicy.FAIL_CLOSED,
    "FAIL_OPEN": wasm_pb2.FailurePolicy.FAIL_OPEN,
    "FAIL_RELOAD": wasm_pb2.FailurePolicy.FAIL_RELOAD,
}


def wasm_plugin_patches(item: Resource[WasmPluginSpec], settings: MeshSettings) -> PatchSet:
    spec = item.spec
    labels = spec.selector.match_labels if spec.selector is not None else {}
    gateways = tuple(reference.name for reference in spec.target_refs)
    patch = Patch(
        PatchId(item.ref, 0),
        "NETWORK_FILTER" if spec.type == "NETWORK" else "HTTP_FILTER",
        "PLUG_IN",
        _filter(item, settings).SerializeToString(deterministic=True),
        filter_class=spec.phase,
        traffic=tuple(sorted({pair for one in spec.match or (TrafficSelector(),) for pair in _traffic(one)})),
    )
    return PatchSet(
        item.ref,
        select(item.namespace, settings.root_namespace, labels, gateways),
        (-spec.priority, item.name, item.namespace),
        (patch,),
    )


def _traffic(match: TrafficSelector) -> list[tuple[str, int]]:
    contexts = _CONTEXTS.get(match.mode, (*_CONTEXTS["CLIENT"], *_CONTEXTS["SERVER"]))
    ports = [port.number for port in match.ports] or [0]
    return [(context, port) for context in contexts for port in ports]


def _filter(item: Resource[WasmPluginSpec], settings: MeshSettings) -> Any:
    config = _config(item, settings)
    if item.spec.type == "NETWORK":
        made: Any = listener_components_pb2.Filter(name=_name(item))
        made.typed_config.Pack(network_wasm_pb2.Wasm(config=config), deterministic=True)
    else:
        made = http_connection_manager_pb2.HttpFilter(name=_name(item))
        made.typed_config.Pack(http_wasm_pb2.Wasm(config=config), deterministic=True)
    return made


def _name(item: Resource[WasmPluginSpec]) -> str:
    """As in Istio."""
    return f"{item.namespace}.{item.name}"


def _config(item: Resource[WasmPluginSpec], settings: MeshSettings) -> Any:
    spec = item.spec
    made = wasm_pb2.PluginConfig(
        name=_name(item), root_id=spec.plugin_name, failure_policy=_POLICIES[spec.fail_strategy]
    )
    if spec.plugin_config:
        text = json.dumps(spec.plugin_config, separators=(",", ":"), sort_keys=True)
        made.configuration.Pack(wrappers_pb2.StringValue(value=text))
    machine = made.vm_config
    machine.vm_id = _name(item)
    machine.runtime = "envoy.wasm.runtime.v8"
    path = f"{settings.module_directory}/{spec.sha256}.wasm"
    machine.code.CopyFrom(base_pb2.AsyncDataSource(local=base_pb2.DataSource(filename=path)))
    for variable in spec.vm_config.env if spec.vm_config is not None else ():
        if variable.value_from == "HOST":
            machine.environment_variables.host_env_keys.append(variable.name)
        else:
            machine.environment_variables.key_values[variable.name] = variable.value
    return made
