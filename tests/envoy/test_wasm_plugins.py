"""WasmPlugins in running Envoys, with the module that `wasm_module` assembles."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from patched_mesh import NOTHING, Answer, patched_gateway, patched_sidecar

from marline.api.decode import admit
from wasm_module import marker

MANY = {f"x_{number}": "y" for number in range(41)}
"""The headers of a request that makes the module trap."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "marker.wasm"
    made.write_bytes(marker())
    return made


def plugin(file: Path, name: str, mark: str = "", **spec: Any) -> Any:
    head = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin"}
    if mark:
        spec["pluginConfig"] = {"mark": mark}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    body = {"url": f"file://{file}", "sha256": digest, **spec}
    return admit({**head, "metadata": {"name": name, "namespace": "default"}, "spec": body})


def marks(answer: Answer) -> list[str]:
    """Those of the last plugin that marked the request, and of no other: of several headers one is told."""
    text = answer.sent.get("x-mark", "")
    return [item["mark"] for item in json.loads(f"[{text}]")] if text else []


@pytest.mark.proves(
    "extensions.WasmPluginSpec.url",
    "extensions.WasmPluginSpec.sha256",
    "extensions.WasmPluginSpec.pluginConfig",
    "extensions.WasmPluginSpec.pluginName",
    "extensions.EnvVar.name",
    "extensions.EnvVar.value",
    "extensions.EnvVar.valueFrom",
)
async def test_a_module_is_told_its_configuration_its_name_and_its_environment(file: Path) -> None:
    environment = {"env": [{"name": "COLOUR", "value": "blue"}]}
    async with patched_sidecar() as mesh:
        await mesh.plug_in(plugin(file, "x", "hello", pluginName="my-root", vmConfig=environment))
        answer = await mesh.until("inbound", lambda answer: marks(answer) == ["hello"])
        assert answer.sent["x-root"] == "my-root"
        assert answer.sent["x-env"] == "COLOUR=blue"
        from_host = {"env": [{"name": "PATH", "valueFrom": "HOST"}]}
        await mesh.plug_in(plugin(file, "x", "hello", vmConfig=from_host))
        await mesh.until("inbound", lambda answer: answer.sent.get("x-env", "").startswith("PATH=/"))


@pytest.mark.proves("extensions.TrafficSelector.mode", "extensions.PortSelector.number")
async def test_a_plugin_is_for_the_traffic_that_it_names(file: Path) -> None:
    async with patched_sidecar() as mesh:
        port = mesh.app.port
        for match, sides in (
            ({"mode": "SERVER"}, {"inbound"}),
            ({"mode": "CLIENT"}, {"outbound", "proxied"}),
            ({"ports": [{"number": 9080}, {"number": 81}]}, {"outbound"}),
            ({"mode": "SERVER", "ports": [{"number": port}]}, {"inbound"}),
        ):
            await mesh.plug_in(plugin(file, "x", "seen", match=[match]))
            for side in ("inbound", "outbound", "proxied"):
                expected = ["seen"] if side in sides else []
                await mesh.until(
                    side, lambda answer, wanted=expected: answer.status and marks(answer) == wanted
                )


@pytest.mark.proves("extensions.WasmPluginSpec.phase", "extensions.WasmPluginSpec.priority")
async def test_plugins_run_by_phase_and_then_by_priority(file: Path) -> None:
    """The filters of a connection manager are asked for, since all plugins are one module here."""
    async with patched_sidecar() as mesh:
        await mesh.plug_in(
            plugin(file, "d", "d"),
            plugin(file, "c", "c", phase="STATS"),
            plugin(file, "b", "b", phase="AUTHN", priority=1),
            plugin(file, "e", "e", phase="AUTHZ"),
            plugin(file, "a", "a", phase="AUTHN", priority=10),
        )
        await mesh.until("inbound", lambda answer: marks(answer))
        dump = json.loads(await mesh.envoy.admin("/config_dump?resource=dynamic_listeners"))
        (listener,) = (item for item in dump["configs"] if item["name"].startswith("inbound_"))
        chain = listener["active_state"]["listener"]["filter_chains"][0]
        names = [item["name"] for item in chain["filters"][0]["typed_config"]["http_filters"]]
        assert names == [f"default.{name}" for name in "abecd"] + ["envoy.filters.http.router"]


@pytest.mark.proves("extensions.WasmPluginSpec.failStrategy")
@pytest.mark.parametrize(
    ("strategy", "during", "afterwards"),
    [("FAIL_CLOSE", 503, 503), ("FAIL_OPEN", 200, 200), ("FAIL_RELOAD", 503, 200)],
)
async def test_a_module_that_dies_stops_requests_or_lets_them_pass_or_comes_back(
    file: Path, strategy: str, during: int, afterwards: int
) -> None:
    async with patched_sidecar() as mesh:
        await mesh.plug_in(plugin(file, "x", "alive", failStrategy=strategy))
        await mesh.until("inbound", lambda answer: marks(answer) == ["alive"])
        await mesh.ask("inbound", **MANY)
        answer = await mesh.until("inbound", lambda answer: answer.status == afterwards)
        assert during in (answer.status, 503)
        if strategy == "FAIL_RELOAD":
            await mesh.until("inbound", lambda answer: marks(answer) == ["alive"])
        else:
            assert marks(await mesh.ask("inbound")) == []


@pytest.mark.proves("extensions.WasmPluginSpec.type")
async def test_a_plugin_of_connections_may_refuse_them(file: Path) -> None:
    async with patched_sidecar() as mesh:
        server = [{"mode": "SERVER"}]
        await mesh.plug_in(plugin(file, "x", "fine", type="NETWORK", match=server))
        assert (await mesh.until("inbound", lambda answer: answer.status == 200)).backend == "app"
        await mesh.plug_in(plugin(file, "x", type="NETWORK", match=server))
        await mesh.until("inbound", lambda answer: answer == NOTHING)
        assert (await mesh.ask("outbound")).status == 200


@pytest.mark.proves("extensions.WasmPluginSpec.selector", "model.Selector.matchLabels")
async def test_workloads_are_selected_by_labels(file: Path) -> None:
    async with patched_sidecar(version="v1") as mesh:
        await mesh.plug_in(
            plugin(file, "x", "other", selector={"matchLabels": {"version": "v2"}}, priority=-1),
            plugin(file, "y", "own", selector={"matchLabels": {"version": "v1"}}),
        )
        await mesh.until("inbound", lambda answer: marks(answer) == ["own"])


@pytest.mark.proves("extensions.WasmPluginSpec.targetRefs")
async def test_proxies_of_a_gateway_are_targeted(file: Path) -> None:
    label = {"gateway.networking.k8s.io/gateway-name": "edge"}
    async with patched_gateway(**label) as mesh:
        for name, priority in (("other", -1), ("edge", 0)):
            target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
            await mesh.plug_in(plugin(file, name, name, targetRefs=[target], priority=priority))
        await mesh.until("gateway", lambda answer: marks(answer) == ["edge"], host="site.example.com")


async def test_a_module_of_another_checksum_never_runs(file: Path) -> None:
    async with patched_sidecar() as mesh:
        good = plugin(file, "x", "good")
        await mesh.plug_in(good)
        await mesh.until("inbound", lambda answer: marks(answer) == ["good"])
        await mesh.plug_in(plugin(file, "x", "good", sha256="0" * 64))
        assert marks(await mesh.ask("inbound")) == ["good"]
        refused = {str(ref) for item in mesh.plane.heard.rejections for ref in item.sources}
        assert "WasmPlugin default/x" in refused
