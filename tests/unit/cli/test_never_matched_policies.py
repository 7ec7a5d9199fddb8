"""Which policies the report of those that have matched nothing names, and since when it knows."""

from datetime import UTC, datetime, timedelta

import yaml

from marline.api.decode import decode
from marline.cli.audit_matches import unmatched
from marline.cli.explain_mesh import KnownMesh
from marline.mesh.model import Capture, ChangeSet, InboundPort, MeshSettings, Protocol, Proxy, Role, Workload
from marline.mesh.snapshot import advance, empty
from marline.telemetry.policy_matches import Matches

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
NEW = datetime(2026, 2, 25, tzinfo=UTC)
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: shop, creationTimestamp: "%s"}
spec: {selector: {matchLabels: {app: %s}}, rules: [{}, {}]}
"""


def workload(name: str, protocol: Protocol) -> Workload:
    port = InboundPort("main", 9080, "127.0.0.1", 9080, protocol)
    return Workload("shop", name, labels=(("app", name),), address="127.0.0.1", inbound=(port,))


def known() -> KnownMesh:
    texts = (
        POLICY % ("recent", BEGUN.isoformat(), "web"), POLICY % ("old", BEGUN.isoformat(), "web"),
        POLICY % ("never", NEW.isoformat(), "web"), POLICY % ("bytes", BEGUN.isoformat(), "db"),
    )  # fmt: skip
    policies = tuple(decode(yaml.safe_load(text)) for text in texts)
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet(policies, (), "1"))
    workloads = (workload("web", Protocol.HTTP), workload("db", Protocol.TCP))
    return KnownMesh(snapshot, (Proxy("node", Role.NODE, Capture.EXPLICIT, workloads),), {})


def test_policies_are_named_that_have_not_matched_since_then() -> None:
    last = {
        "shop/recent/0": (NOW - timedelta(days=90)).timestamp(),
        "shop/recent/1": (NOW - timedelta(days=2)).timestamp(),
        "shop/old/0": (NOW - timedelta(days=40)).timestamp(),
        "shop/oldest/0": NOW.timestamp(),
    }
    matches = Matches(BEGUN.timestamp(), last)
    found = {row.name: row for row in unmatched(known(), matches, NOW - timedelta(days=30))}
    assert list(found) == ["bytes", "never", "old"]
    assert found["old"].last_matched == NOW - timedelta(days=40)
    assert (found["never"].last_matched, found["never"].watched_since) == (None, NEW)
    assert found["old"].watched_since == BEGUN
    assert "connections" in found["bytes"].counted, "nobody counts them, so they may have matched"
    assert "connections" not in found["old"].counted
