"""All about one resource, and what the mesh makes of services and workloads. On a real store."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from marline.api.resource import Ref
from marline.cli.describe import concerns
from marline.cli.description import describe_events, describe_object, describe_service, describe_workload
from marline.cli.mesh_facts import read_mesh, service_facts, workload_facts
from marline.mesh.model import MeshSettings
from marline.store.embedded.store import EmbeddedStore

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
REVIEWS = Ref("", "Service", "default", "reviews")
ENTRY = Ref("networking.istio.io", "WorkloadEntry", "default", "reviews-v1")

MESH = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec:
  clusterIP: 10.96.0.7
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v1, namespace: default}
spec:
  address: 10.0.0.1
  serviceAccount: reviews
  labels: {app: reviews, security.istio.io/tlsMode: istio}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: rules, namespace: default}
spec: {host: reviews}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: default}
spec: {mtls: {mode: PERMISSIVE}}
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "marline.db")
    for obj in yaml.safe_load_all(MESH):
        await opened.create(obj)
    yield opened
    await opened.close()


async def test_a_service_shows_its_endpoints_and_rules(store: EmbeddedStore) -> None:
    (facts,) = service_facts(await read_mesh(store, MeshSettings()), REVIEWS)
    assert facts.addresses == ("10.96.0.7",)
    assert facts.rules == ("DestinationRule default/rules",)
    (endpoint,) = facts.endpoints
    assert (endpoint.address, endpoint.workload, endpoint.ready) == ("10.0.0.1:9080", "reviews-v1", True)
    assert (endpoint.mtls, endpoint.identity) == (True, "spiffe://cluster.local/ns/default/sa/reviews")
    shown = click.unstyle(describe_service(facts))
    assert "reviews.default.svc.cluster.local" in shown
    assert "10.0.0.1:9080   reviews-v1   ready   mTLS" in shown


async def test_a_workload_shows_what_it_accepts_and_who_says_so(store: EmbeddedStore) -> None:
    mesh = await read_mesh(store, MeshSettings(trust_domain="example.org"))
    facts = workload_facts(mesh, ENTRY)
    assert facts is not None
    assert facts.identity == "spiffe://example.org/ns/default/sa/reviews"
    assert facts.services == ("reviews.default.svc.cluster.local",)
    assert facts.mtls == "PERMISSIVE"
    assert "PeerAuthentication default/all" in describe_workload(facts)
    assert workload_facts(mesh, ENTRY._replace(name="gone")) is None


def resource(**more: Any) -> dict[str, Any]:
    metadata = {"name": "reviews", "namespace": "default", "creationTimestamp": "2026-01-01T11:00:00Z"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, **more}


def test_conditions_are_a_table_apart_from_the_rest_of_the_status() -> None:
    condition = {
        "type": "Programmed",
        "status": "False",
        "reason": "RejectedByProxy",
        "message": "bad regex",
        "lastTransitionTime": "2026-01-01T11:55:00Z",
    }
    status = {"conditions": [condition], "observedGeneration": 4}
    shown = click.unstyle(describe_object(resource(spec={"hosts": ["reviews"]}, status=status), NOW))
    assert "Created:     2026-01-01T11:00:00Z (60m ago)" in shown
    assert "Status:\n  observedGeneration: 4" in shown
    assert "Programmed   False    RejectedByProxy   5m    bad regex" in shown
    assert "Spec:\n  hosts:\n  - reviews" in shown


def test_a_secret_stays_secret() -> None:
    shown = describe_object(
        {**resource(type="kubernetes.io/tls", data={"tls.key": "c2VjcmV0"}), "kind": "Secret"}, NOW
    )
    assert "tls.key: (8 characters)" in shown
    assert "c2VjcmV0" not in shown


def event(kind: str, name: str, message: str, seen: str) -> dict[str, Any]:
    about: Mapping[str, str] = {"kind": kind, "name": name, "namespace": "default"}
    return {
        "involvedObject": about,
        "metadata": {},
        "type": "Warning",
        "reason": "Rejected",
        "message": message,
        "lastTimestamp": seen,
    }


def test_events_are_those_of_the_resource_the_newest_last() -> None:
    events = [
        event("Service", "reviews", "second", "2026-01-01T11:59:00Z"),
        event("Service", "reviews", "first", "2026-01-01T11:00:00Z"),
        event("Service", "ratings", "another", "2026-01-01T11:00:00Z"),
    ]
    shown = describe_events([item for item in events if concerns(item, REVIEWS)], NOW)
    assert shown.index("first") < shown.index("second")
    assert "another" not in shown
