"""Every audited request is in the log once, whatever is killed meanwhile; no request waits for the log."""

import json
import os
import signal
from typing import Any

import pytest
from running_mesh import ECHO, Mesh, eventually, running_mesh

AUDIT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: watched}
spec: {selector: {matchLabels: {app: echo}}, action: AUDIT, rules: [{}]}
"""
CLIENT = "spiffe://cluster.local/ns/default/sa/client"


def recorded(mesh: Mesh) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(mesh.marline("audit", "query", "--requests", "-o", "json"))
    return [item for item in found if item["kind"] == "request"]


@pytest.mark.slow
def test_every_request_is_recorded_once() -> None:
    with running_mesh("explicit" if os.geteuid() else "transparent", ECHO) as mesh:
        mesh.apply(AUDIT)
        client, asked = mesh.caller("client"), 0

        def ask() -> None:
            nonlocal asked
            results = client.fetch("{ECHO_URL}/a", count=20)
            assert [item["status"] for item in results] == [200] * 20
            asked += 20

        ask()
        spool = mesh.home / "data" / "requests" / "spool"
        eventually(spool.is_dir, "what was asked is on its way into the log", mesh.home)
        before = mesh.control_plane_pid()
        os.kill(before, signal.SIGKILL)
        ask()
        eventually(lambda: mesh.control_plane_pid() not in (0, before), "another control plane", mesh.home)
        ask()
        eventually(lambda: len(recorded(mesh)) == asked, "with it, what was asked meanwhile", mesh.home)
        ask()
        mesh.marline("down", "echo")
        eventually(lambda: len(recorded(mesh)) == asked, "what a proxy has left that has ended", mesh.home)
        found = recorded(mesh)
        assert len({item["id"] for item in found}) == asked
        assert {(item["path"], item["status"]) for item in found} == {("/a", 200)}
        assert {item["source"] for item in found} == {CLIENT}
        assert f"{asked} records of requests" in mesh.marline("audit", "verify")
