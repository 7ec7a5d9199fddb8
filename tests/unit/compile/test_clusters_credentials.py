"""Which proxies get which Secrets for their own connections, and what a change of a Secret touches."""

from typing import Any

import pytest
from core_meshes import resources
from test_gateway_secrets import pair, secret_yaml

from marline.api.resource import Ref
from marline.compile.catalog import affected, compile_unit
from marline.compile.units import CredentialUnit
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload, labels_of
from marline.mesh.snapshot import MeshSnapshot, advance, empty

RULE = """
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web, namespace: default},
 spec: {host: web.example.com, %s trafficPolicy: {portLevelSettings: [{port: {number: 443},
  tls: {mode: MUTUAL, credentialName: web}}]}}}
"""
SELECTED = "workloadSelector: {matchLabels: {app: client}},"
CERTIFICATE, KEY = pair("ec")
SECRETS = secret_yaml("web", "default", tls_crt=CERTIFICATE, tls_key=KEY) + secret_yaml(
    "web-cacert", "default", ca_crt=CERTIFICATE
)


def mesh(text: str) -> MeshSnapshot:
    return advance(empty(MeshSettings()), ChangeSet(resources(text), (), "1"))[0]


def proxy(role: Role = Role.SIDECAR, namespace: str = "default", **labels: str) -> Proxy:
    return Proxy("p", role, Capture.EXPLICIT, (Workload(namespace, "w", labels=labels_of(labels)),))


def sent(snapshot: MeshSnapshot, to: Proxy) -> dict[str, Any]:
    recipes = compile_unit(snapshot, to, CredentialUnit("web"))
    return {recipe.name: recipe.build(*recipe.inputs) for recipe in recipes}


def test_a_selected_sidecar_gets_the_certificate_and_the_ca() -> None:
    made = sent(mesh(RULE % SELECTED + SECRETS), proxy(app="client"))
    assert set(made) == {"credential://default/web", "credential://default/web-cacert"}
    assert made["credential://default/web"].tls_certificate.private_key.inline_bytes == KEY


@pytest.mark.parametrize(
    ("scope", "to"),
    [
        (SELECTED, proxy()),
        (SELECTED, proxy(app="other")),
        (SELECTED, proxy(namespace="other", app="client")),
        ("", proxy(app="client")),
        ("", proxy(Role.GATEWAY, "other")),
        ("exportTo: [other],", proxy(Role.GATEWAY)),
    ],
)
def test_nobody_else_gets_them(scope: str, to: Proxy) -> None:
    assert sent(mesh(RULE % scope + SECRETS), to) == {}


def test_a_gateway_gets_those_of_its_namespace_without_being_selected() -> None:
    assert len(sent(mesh(RULE % "" + SECRETS), proxy(Role.GATEWAY))) == 2


def test_an_unusable_secret_is_not_sent() -> None:
    broken = secret_yaml("web", "default", tls_crt=b"?", tls_key=KEY)
    assert sent(mesh(RULE % SELECTED + broken), proxy(app="client")) == {}


@pytest.mark.parametrize("name", ["web", "web-cacert"])
def test_a_changed_secret_touches_its_own_unit_only(name: str) -> None:
    before = mesh(RULE % SELECTED + SECRETS)
    ref = Ref("", "Secret", "default", name)
    after, impact = advance(before, ChangeSet((), (ref,), "2"))
    assert list(affected(after, proxy(app="client"), impact)) == [CredentialUnit("web")]
    assert len(sent(after, proxy(app="client"))) == 1


def test_other_secrets_touch_no_sidecar() -> None:
    before = mesh(RULE % SELECTED)
    unrelated = resources(secret_yaml("unrelated", "default", ca_crt=CERTIFICATE))
    after, impact = advance(before, ChangeSet(unrelated, (), "2"))
    assert list(affected(after, proxy(app="client"), impact)) == []
