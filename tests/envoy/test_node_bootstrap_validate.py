"""Bootstraps that Envoy itself finds valid."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from marline.mesh.model import Capture, GatewayPort, InboundPort, Locality, Proxy, Role, Upstream, Workload
from marline.node.bootstrap import bootstrap
from marline.node.envoy import envoy_path

SIDECAR = Proxy(
    node_id="sidecar~default~web~laptop",
    role=Role.SIDECAR,
    capture=Capture.EXPLICIT,
    workloads=(
        Workload(
            "default",
            "web",
            inbound=(InboundPort("http", 1, "127.0.0.1", 2),),
            upstreams=(Upstream("ratings", 9080, 3),),
            locality=Locality("eu", "one", "a"),
        ),
    ),
    bind_address="127.0.0.1",
)
GATEWAY = Proxy(
    node_id="gateway~istio-system~ingress~laptop",
    role=Role.GATEWAY,
    capture=Capture.EXPLICIT,
    workloads=(Workload("istio-system", "ingress"),),
    bind_address="127.0.0.1",
    gateway_ports=(GatewayPort(80, 8080),),
)


@pytest.mark.parametrize("proxy", [SIDECAR, GATEWAY], ids=["sidecar", "gateway"])
def test_envoy_finds_a_bootstrap_valid_and_has_nothing_to_warn_of(proxy: Proxy) -> None:
    with tempfile.TemporaryDirectory(prefix="mrl-") as name:
        directory = Path(name)
        config = bootstrap(
            proxy,
            xds_socket="../xds.sock",
            sds_socket="sds.sock",
            rate_limit_socket="../limits.sock",
            admin_socket="admin.sock",
            cluster="web.default",
        )
        (directory / "bootstrap.json").write_text(json.dumps(config))
        command = [envoy_path(), "--mode", "validate", "-c", "bootstrap.json", "--log-level", "warning"]
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=60, env={"PATH": os.defpath},
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "OK" in done.stdout
        assert "warning" not in done.stderr, done.stderr
