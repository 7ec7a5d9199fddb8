"""Conditions of VirtualServices on who asks, where, and by which scheme; what a rule is called."""

import pytest
from mesh_client import called

RULES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: default}
spec:
  hosts: [app]
  gateways: [mesh, edge]
  http:
  - match: [{uri: {exact: /gateway}, gateways: [edge]}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /mesh}, gateways: [mesh], sourceLabels: {app: nobody}}]
    directResponse: {status: 203}
  - match: [{uri: {exact: /labels}, sourceLabels: {app: client}}]
    directResponse: {status: 203}
  - match: [{uri: {exact: /labels}, sourceLabels: {app: client, version: v9}}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /namespace}, sourceNamespace: shop}]
    directResponse: {status: 203}
  - match: [{uri: {exact: /namespace}, sourceNamespace: other}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /port}, port: 80}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /port}, port: 9080}]
    directResponse: {status: 203}
  - match: [{uri: {exact: /scheme}, scheme: {exact: https}}]
    directResponse: {status: 418}
  - match: [{uri: {exact: /scheme}, scheme: {exact: http}}]
    directResponse: {status: 203}
  - name: rule
    match: [{name: counted, uri: {exact: /named}, statPrefix: named}]
    headers: {response: {set: {x-route: "%ROUTE_NAME%"}}}
    route: [{destination: {host: app, port: {number: 9080}}}]
  - route: [{destination: {host: app}}]
"""


@pytest.mark.proves(
    "networking.VirtualServiceSpec.hosts",
    "networking.VirtualServiceSpec.gateways",
    "networking.HTTPMatchRequest.gateways",
    "networking.HTTPMatchRequest.sourceLabels",
    "networking.HTTPMatchRequest.sourceNamespace",
    "networking.HTTPMatchRequest.port",
    "networking.HTTPMatchRequest.scheme",
    "networking.HTTPMatchRequest.statPrefix",
    "networking.HTTPMatchRequest.name",
    "networking.HTTPRoute.name",
    "networking.Destination.port",
    "networking.PortSelector.number",
)
async def test_rules_hold_for_the_clients_gateways_ports_and_schemes_that_they_name() -> None:
    async with called(RULES, "app", labels={"app": "client", "version": "v1"}, namespace="shop") as mesh:
        names = ("gateway", "mesh", "labels", "namespace", "port", "scheme", "other")
        found = {name: (await mesh.send("app", f"/{name}")).status for name in names}
        named = await mesh.send("app", "/named")
        stats = await mesh.envoy.admin("/stats?filter=route.named.upstream_rq_completed")
    assert found == dict.fromkeys(names, 203) | {"gateway": 200, "other": 200}
    assert (named.backend, named.headers["x-route"]) == ("app", "rule.counted")
    assert stats.strip().endswith(": 1")


FOR_OTHERS = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: default}
spec: {hosts: [app], exportTo: %s, http: [{directResponse: {status: 203}}]}
"""


@pytest.mark.proves("networking.VirtualServiceSpec.exportTo")
@pytest.mark.parametrize(
    ("export_to", "status"), [('["."]', 200), ("[shop]", 203), ('["*"]', 203), ("[other, shop]", 203)]
)
async def test_rules_hold_in_the_namespaces_that_they_are_exported_to(export_to: str, status: int) -> None:
    async with called(FOR_OTHERS % export_to, "app", namespace="shop") as mesh:
        assert (await mesh.send("app")).status == status
