"""A root VirtualService hands requests to rules that stand in others."""

import pytest
from mesh_client import called, subsets

ROOT = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: default}
spec:
  hosts: [app]
  http:
  - match: [{uri: {prefix: /api}}]
    rewrite: {uri: /v}
    delegate: {name: api}
  - match: [{uri: {prefix: /far}}]
    delegate: {name: far, namespace: teams}
  - match: [{uri: {prefix: /hidden}}]
    delegate: {name: hidden, namespace: teams}
  - match: [{uri: {prefix: /gone}}]
    delegate: {name: gone}
  - route: [{destination: {host: app, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: default}
spec:
  http:
  - match: [{uri: {prefix: /api/two}}]
    route: [{destination: {host: app, subset: v2}}]
  - match: [{uri: {prefix: /other}}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /api/answer}}]
    directResponse: {status: 203}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far, namespace: teams}
spec:
  exportTo: [default]
  http: [{route: [{destination: {host: other.default.svc.cluster.local}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hidden, namespace: teams}
spec:
  exportTo: ["."]
  http: [{directResponse: {status: 418}}]
"""


@pytest.mark.proves(
    "networking.HTTPRoute.delegate",
    "networking.Delegate.name",
    "networking.Delegate.namespace",
    "networking.VirtualServiceSpec.exportTo",
)
async def test_requests_follow_the_rules_of_delegates() -> None:
    rules = ROOT + subsets("app", "v1", "v2")
    async with called(rules, "app/v1", "app/v2", "other") as mesh:
        found = {path: await mesh.send("app", path) for path in (
            "/api/two/x", "/api/answer", "/api/none", "/other", "/far/x", "/hidden", "/gone", "/",
        )}  # fmt: skip
    assert {path: reply.backend or reply.status for path, reply in found.items()} == {
        "/api/two/x": "app/v2",
        "/api/answer": 203,
        "/api/none": "app/v1",  # no rule of the delegate is for it
        "/other": "app/v1",  # the delegate's rule conflicts with the root's match
        "/far/x": "other",
        "/hidden": "app/v1",  # the delegate is not exported to the root's namespace
        "/gone": "app/v1",  # there is no such delegate
        "/": "app/v1",
    }
    assert found["/api/two/x"].body["path"] == "/v/x"  # the root's rewrite, of the delegate's match
