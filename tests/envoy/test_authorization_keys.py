"""Each action with each thing that a rule can ask for, alone: where it fits and where not, for requests and
for connections."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from authorized_mesh import AuthorizedMesh, authorized, request_text

CALLER = "cluster.local/ns/shop/sa/web"
CLAIMS = {
    "iss": "issuer",
    "sub": "ann",
    "aud": ["shop", "web"],
    "azp": "app",
    "realm": {"groups": ["a", "b"]},
}
SERVER_NAME = "outbound_.9080_._.reviews.mesh.marline"
FORWARDED = "192.0.2.7"
REQUEST = request_text(
    "/a/b/c?q=1", "PUT", "Shop.example.com", [("x-user", "ann"), ("x-forwarded-for", FORWARDED)], CLAIMS
)
HTTP_FIELDS = ("hosts", "methods", "paths", "requestPrincipals")
FIELDS = {
    "source": {
        "principals": ([CALLER, "cluster.local/ns/shop/*", "*/web", "*"], ["cluster.local/ns/shop/sa/we"]),
        "namespaces": (["shop", "sh*", "*op", "*"], ["sho", "hop", "shop*x"]),
        "serviceAccounts": (["web", "shop/web"], ["other/web", "we"]),
        "requestPrincipals": (["issuer/ann", "issuer/*", "*/ann", "*ann", "*"], ["issuer/an", "ann"]),
        "ipBlocks": (["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0"], ["192.0.2.7", "10.0.0.0/8", "::/0"]),
        "remoteIpBlocks": (None, None),
    },
    "operation": {
        "hosts": (["shop.example.com", "SHOP*", "*.example.com", "*"], ["example.com", "shop"]),
        "methods": (["PUT", "P*", "*T", "*"], ["put", "GET"]),
        "paths": (["/a/b/c", "/a/*", "*/c", "*", "/a/{*}/c", "/a/{**}", "/{*}/b/{**}"],
                  ["/a/b", "/A/*", "/a/{*}", "/a/b/c/{**}", "/a/b/c?q=1"]),
        "ports": (None, None),
    },
}  # fmt: skip
KEYS: dict[str, tuple[list[str], list[str]]] = {
    "request.headers[x-user]": (["ann", "a*", "*n", "*"], ["an", "Ann"]),
    "request.auth.principal": (["issuer/ann", "*"], ["issuer/bob"]),
    "request.auth.audiences": (["shop", "w*", "*"], ["sho", "other"]),
    "request.auth.presenter": (["app", "*"], ["shop"]),
    "request.auth.claims[iss]": (["issuer", "*"], ["ann"]),
    "request.auth.claims[realm][groups]": (["a", "b", "*"], ["c"]),
    "source.ip": (["127.0.0.1", "127.0.0.0/8"], ["192.0.2.7"]),
    "source.namespace": (["shop"], ["other"]),
    "source.principal": ([CALLER, "*/web"], ["*/ns/other/sa/web"]),
    "source.serviceAccount": (["shop/web", "web"], ["other/web"]),
    "destination.ip": (["127.0.0.1", "127.0.0.0/8"], ["10.0.0.0/8"]),
    "connection.sni": ([SERVER_NAME, "*.mesh.marline", "outbound*"], ["reviews"]),
}


@dataclass(frozen=True)
class Case:
    rule: dict[str, Any] = field(hash=False)
    action: str
    matches: bool
    http_only: bool = False
    connections: bool | None = None
    """Whether it matches connections, if that is not the same."""

    def passes(self, *, connection: bool) -> bool:
        if connection and self.http_only:
            # istio.io, "Authorization for TCP traffic"
            return False
        found = self.connections if connection and self.connections is not None else self.matches
        return found is (self.action == "ALLOW")


def _cases() -> Iterator[Case]:
    for action in ("ALLOW", "DENY"):
        yield Case({}, action, True)
        for side, fields in FIELDS.items():
            outer = "from" if side == "source" else "to"
            for name, (fitting, others) in fields.items():
                for matches, value in ((True, fitting), (False, others)):
                    if value is None:
                        continue
                    for negated in (False, True):
                        written = f"not{name[0].upper()}{name[1:]}" if negated else name
                        for text in [value] if negated and not matches else [[item] for item in value]:
                            rule = {outer: [{side: {written: text}}]}
                            yield Case(rule, action, matches is not negated, name in HTTP_FIELDS)
        for key, (fitting, others) in KEYS.items():
            for matches, value in ((True, fitting), (False, others)):
                for field_name in ("values", "notValues"):
                    rule = {"when": [{"key": key, field_name: value[:1]}]}
                    http = key.startswith("request.")
                    yield Case(rule, action, matches is (field_name == "values"), http)
        yield from _of_addresses_and_ports(action)


def _of_addresses_and_ports(action: str) -> Iterator[Case]:
    """Where requests and connections differ."""
    for negated in (False, True):
        source, when, port = ("notRemoteIpBlocks", "notValues", "notPorts") if negated else (
            "remoteIpBlocks", "values", "ports"
        )  # fmt: skip
        for block, request, connection in (("192.0.2.0/24", True, False), ("127.0.0.1", False, True)):
            found = (request is not negated, False, connection is not negated)
            yield Case({"from": [{"source": {source: [block]}}]}, action, *found)
            yield Case({"when": [{"key": "remote.ip", when: [block]}]}, action, *found)
        for number, request, connection in (
            ("9080", True, False),
            ("7000", False, True),
            ("1", False, False),
        ):
            found = (request is not negated, False, connection is not negated)
            yield Case({"to": [{"operation": {port: [number]}}]}, action, *found)
            yield Case({"when": [{"key": "destination.port", when: [number]}]}, action, *found)


CASES = list(_cases())


def policy(index: int, case: Case) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": f"case-{index}", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": f"w{index}"}}, "action": case.action, "rules": [case.rule],
        },
    }  # fmt: skip


@pytest.mark.proves(
    "security.AuthorizationPolicySpec.action",
    "security.AuthorizationPolicySpec.selector",
    "security.AuthorizationPolicySpec.rules",
    "security.Rule.from",
    "security.Rule.to",
    "security.Rule.when",
    "security.From.source",
    "security.To.operation",
    "security.Source.principals",
    "security.Source.notPrincipals",
    "security.Source.requestPrincipals",
    "security.Source.notRequestPrincipals",
    "security.Source.namespaces",
    "security.Source.notNamespaces",
    "security.Source.serviceAccounts",
    "security.Source.notServiceAccounts",
    "security.Source.ipBlocks",
    "security.Source.notIpBlocks",
    "security.Source.remoteIpBlocks",
    "security.Source.notRemoteIpBlocks",
    "security.Operation.hosts",
    "security.Operation.notHosts",
    "security.Operation.ports",
    "security.Operation.notPorts",
    "security.Operation.methods",
    "security.Operation.notMethods",
    "security.Operation.paths",
    "security.Operation.notPaths",
    "security.Condition.key",
    "security.Condition.values",
    "security.Condition.notValues",
)
async def test_every_key_decides_alone_for_requests_and_connections() -> None:
    policies = [policy(index, case) for index, case in enumerate(CASES)]
    async with authorized(len(CASES), policies) as mesh:
        numbers = range(len(CASES))
        for start in range(0, len(CASES), 16):
            batch = numbers[start : start + 16]
            found = await asyncio.gather(*(_outcome(mesh, index) for index in batch))
            for index, outcome in zip(batch, found, strict=True):
                case = CASES[index]
                expected = (case.passes(connection=False), case.passes(connection=True))
                assert outcome == expected, case


async def _outcome(mesh: AuthorizedMesh, index: int) -> tuple[bool, bool]:
    """Whether a request passes, and a connection."""
    http, tcp = mesh.ports[index]
    requesting = await mesh.connect(http, CALLER, SERVER_NAME)
    status, _, body = await requesting.request(REQUEST)
    requesting.close()
    assert status == 200 or (status, body) == (403, "RBAC: access denied")
    connecting = await mesh.connect(tcp, CALLER, SERVER_NAME)
    echoed = await connecting.echo()
    connecting.close()
    return status == 200, echoed
