"""Policies from traffic seen: who called what is allowed to, and nobody else."""

from typing import Any

import yaml

from marline.api.decode import admit, decode
from marline.cli.authz_suggest import suggested
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.telemetry.callers import callers
from marline.telemetry.counts import counted
from marline.telemetry.prometheus import parse
from marline.telemetry.reading import PREFIX, Reading

HOST = "reviews.default.svc.cluster.local"
BOOK, WEB = "spiffe://cluster.local/ns/default/sa/book", "spiffe://cluster.local/ns/web/sa/web"
MESH = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}, {name: tcp, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-1, namespace: default}
spec: {address: 10.0.0.1, labels: {app: reviews}, ports: {http: 9080, tcp: 81}}
"""


def series(count: int, **said: str) -> str:
    labels = {
        "reporter": "destination", "source_principal": BOOK, "destination_service": HOST,
        "connection_security_policy": "mutual_tls", "response_code": "200", "request_protocol": "HTTP/1.1",
        **said,
    }  # fmt: skip
    name = "tcp_connections_closed_total" if labels["request_protocol"] == "tcp" else "requests_total"
    shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"# TYPE {PREFIX}{name} counter\n{PREFIX}{name}{{{shown}}} {count}\n"


def reading(at: float, *lines: str) -> Reading:
    return Reading(at, {"proxy": parse("".join(lines), PREFIX)})


def mesh() -> MeshSnapshot:
    changed = tuple(decode(item) for item in yaml.safe_load_all(MESH))
    return advance(empty(MeshSettings()), ChangeSet(changed, (), "1"))[0]


def policies(after: Reading, before: Reading | None = None, **more: Any) -> list[tuple[Any, list[str]]]:
    seen = callers(counted(after, before), recent=before is not None)
    return list(suggested(mesh(), seen, **{"dry_run": False, **more}))


def test_callers_with_an_identity_are_allowed_at_the_ports_of_what_they_spoke() -> None:
    tcp = {"request_protocol": "tcp", "response_code": "0", "source_principal": WEB}
    [(policy, notes)] = policies(reading(1, series(3), series(2, **tcp)))
    admit(policy)
    assert policy["spec"]["selector"] == {"matchLabels": {"app": "reviews"}}
    http, other = policy["spec"]["rules"]
    assert http["from"] == [{"source": {"principals": ["cluster.local/ns/default/sa/book"]}}]
    assert http["to"] == [{"operation": {"ports": ["9080"]}}]
    assert other["from"] == [{"source": {"principals": ["cluster.local/ns/web/sa/web"]}}]
    assert other["to"] == [{"operation": {"ports": ["81"]}}]
    assert notes == ["3 requests of 1 identities", "2 connections of 1 identities"]


def test_who_was_refused_or_has_no_identity_is_not_allowed() -> None:
    plain = {"connection_security_policy": "none", "source_principal": ""}
    refused = {"source_principal": WEB, "response_code": "403"}
    [(policy, notes)] = policies(reading(1, series(1), series(5, **plain), series(9, **refused)))
    assert len(policy["spec"]["rules"]) == 1
    assert notes[1] == "5 requests without an identity, which are NOT allowed"


def test_of_a_window_only_what_happened_in_it_counts() -> None:
    before = reading(1, series(3), series(1, source_principal=WEB))
    after = reading(2, series(3), series(2, source_principal=WEB))
    [(policy, _)] = policies(after, before, dry_run=True)
    assert policy["spec"]["rules"][0]["from"] == [{"source": {"principals": ["cluster.local/ns/web/sa/web"]}}]
    assert policy["metadata"]["annotations"] == {"istio.io/dry-run": "true"}
    assert policies(before, before) == []
