"""Whose DestinationRules a client follows: by its labels, its namespace, and where rules are exported to."""

import pytest
from called_service import called

ENDPOINTS: dict[str, dict[str, object]] = {"a": {}, "b": {}, "c": {}}
ONE = "{loadBalancer: {consistentHash: {useSourceIp: true}}}"


def rule(name: str, namespace: str = "default", more: str = "") -> str:
    """One that sends all requests of a client to one endpoint."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{host: reviews.default.svc.cluster.local, trafficPolicy: {ONE}{more}}}
"""


@pytest.mark.proves("networking.DestinationRuleSpec.workloadSelector", "model.Selector.matchLabels")
@pytest.mark.parametrize(("labels", "answering"), [({"app": "web"}, 1), ({"app": "db"}, 3)])
async def test_a_rule_is_for_the_clients_that_it_selects(labels: dict[str, str], answering: int) -> None:
    selective = rule("web", more=", workloadSelector: {matchLabels: {app: web}}")
    async with called(ENDPOINTS, selective, labels=labels) as mesh:
        assert len(await mesh.answers(60)) == answering


@pytest.mark.proves("networking.DestinationRuleSpec.exportTo", "networking.DestinationRuleSpec.host")
@pytest.mark.parametrize(("exported", "answering"), [('["."]', 3), ("[default]", 1), ('["*"]', 1)])
async def test_a_rule_counts_where_it_is_exported_to(exported: str, answering: int) -> None:
    async with called(ENDPOINTS, rule("root", "istio-system", f", exportTo: {exported}")) as mesh:
        assert len(await mesh.answers(60)) == answering
