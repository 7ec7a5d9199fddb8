"""EnvoyFilters and WasmPlugins of a running mesh, from the command to the status, in both capture modes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_mesh import ECHO, MODES, Mesh, eventually, running_mesh

from wasm_module import marker

URL = "{ECHO_URL}/"
HEADER_FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mark}
spec:
  workloadSelector: {labels: {app: echo}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter: {name: %s}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.lua
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code:
            inline_string: |
              function envoy_on_request(handle) handle:headers():add("x-lua", "%s") end
"""


@pytest.fixture(scope="module", params=MODES)
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with running_mesh(request.param, ECHO) as mesh:
        yield mesh


def seen(mesh: Mesh, header: str) -> set[str]:
    """The values of a header ("": it is not there) with which requests reach the instances of the service."""
    found = mesh.caller("client").fetch(URL, count=12)
    assert {item["status"] for item in found} == {200}, found
    return {item["said"]["headers"].get(header, "") for item in found}


def until_seen(mesh: Mesh, header: str, value: str) -> None:
    """A connection from before a listener changed carries one more request of the old kind."""
    eventually(lambda: seen(mesh, header) == {value}, f"{header} is {value!r} everywhere", mesh.home)


def condition(mesh: Mesh, kind: str, name: str, wanted: str) -> dict[str, Any]:
    """The condition of this type; nothing, if there is none."""
    item = json.loads(mesh.marline("get", kind, name, "-o", "json"))
    conditions = item.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == wanted), {})


def becomes(mesh: Mesh, kind: str, name: str, wanted: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(
        lambda: (one := condition(mesh, kind, name, wanted)).get("status") == status and one,
        f"{wanted} of {name} is {status}",
        mesh.home,
    )
    return found


def test_an_envoy_filter_is_in_force_and_says_when_it_matches_nothing(mesh: Mesh) -> None:
    mesh.apply(HEADER_FILTER % ("envoy.filters.http.router", "one"))
    until_seen(mesh, "x-lua", "one")
    mesh.apply(HEADER_FILTER % ("istio.stats", "two"))
    told = becomes(mesh, "envoyfilter", "mark", "Matched", "False")
    assert "configPatches[0] (HTTP_FILTER INSERT_BEFORE)" in told["message"]
    until_seen(mesh, "x-lua", "")
    mesh.apply(HEADER_FILTER % ("envoy.filters.http.router", "three"))
    becomes(mesh, "envoyfilter", "mark", "Matched", "True")
    mesh.delete("envoyfilter", "mark")
    until_seen(mesh, "x-lua", "")


def test_what_envoy_refuses_is_told_and_the_last_good_one_stays(mesh: Mesh) -> None:
    mesh.apply(HEADER_FILTER % ("envoy.filters.http.router", "good"))
    until_seen(mesh, "x-lua", "good")
    mesh.marline("apply", "-f", "-", text=HEADER_FILTER % ("envoy.filters.http.router", '" this is no Lua'))
    told = becomes(mesh, "envoyfilter", "mark", "Programmed", "False")
    assert "the last good configuration stays" in told["message"]
    until_seen(mesh, "x-lua", "good")
    mesh.delete("envoyfilter", "mark")


def test_a_wasm_plugin_runs_the_module_that_was_named(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "marker.wasm"
    file.write_bytes(marker())
    plugin = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "mark"},
        "spec": {
            "selector": {"matchLabels": {"app": "echo"}},
            "url": f"file://{file}",
            "sha256": hashlib.sha256(marker()).hexdigest(),
            "pluginConfig": {"mark": "seen"},
            "match": [{"mode": "SERVER"}],
        },
    }
    mesh.apply(json.dumps(plugin))
    until_seen(mesh, "x-mark", '{"mark":"seen"}')
    plugin["spec"] = {**plugin["spec"], "sha256": "0" * 64}  # type: ignore[dict-item]
    mesh.marline("apply", "-f", "-", text=json.dumps(plugin))
    told = becomes(mesh, "wasmplugin", "mark", "ModuleVerified", "False")
    assert "checksum" in told["message"]
    until_seen(mesh, "x-mark", '{"mark":"seen"}')
    mesh.delete("wasmplugin", "mark")
    until_seen(mesh, "x-mark", "")
