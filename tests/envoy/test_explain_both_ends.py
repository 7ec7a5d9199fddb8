"""Whether a call is answered depends on both ends: what is foretold of each pair of policies is what two
running Envoys do."""

import itertools
import random
import socket
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from routing_envoy import backend
from static_mesh import envoy_for, snapshot_of

from marline.explain.journey import explain
from marline.explain.steps import Explanation, Fate
from marline.explain.target import parse_target
from marline.explain.view import CompiledView
from marline.mesh.model import Capture, InboundPort, Proxy, Role, Upstream, Workload
from marline.mesh.protocol import select_protocol

CLIENT_TLS = ("", "DISABLE", "ISTIO_MUTUAL", "SIMPLE")
SERVER_MTLS = ("", "STRICT", "PERMISSIVE", "DISABLE")
PORTS = ("http", "tcp", "auto")
ACCOUNTS = ("default", "other")
PAIRS = tuple(itertools.product(CLIENT_TLS, SERVER_MTLS, PORTS, ACCOUNTS, ("istio", "none")))


def free_ports(count: int) -> list[int]:
    """So many different ones, below those that the system gives to clients and to other tests."""
    found: list[int] = []
    for port in random.sample(range(10_000, 32_000), 4 * count):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    assert len(found) >= count
    return found[:count]


AUTHORIZED = (
    "",
    "action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/default]}}]}]",
    "action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/other/sa/other]}}]}]",
    "action: ALLOW, rules: [{from: [{source: {namespaces: [default]}}]}]",
    "action: DENY, rules: [{from: [{source: {namespaces: [other]}}]}]",
    "action: DENY, rules: [{to: [{operation: {paths: [/], methods: [GET]}}]}]",
    "action: ALLOW, rules: [{from: [{source: {notPrincipals: ['*']}}]}]",
)
"""Of each service one; there are more pairs than policies, and no common factor."""


def documents(index: int, pair: tuple[str, ...], listen: int) -> str:
    """A service of one workload, with its policies; the workload's entry may name another identity than
    its certificate has."""
    client, server, port, account, label = pair
    made = f"""
---
{{apiVersion: v1, kind: Service, metadata: {{name: s{index}, namespace: default}},
  spec: {{selector: {{app: s{index}}}, ports: [{{name: {port}, port: {1000 + index}}}]}}}}
---
{{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {{name: s{index}, namespace: default}},
  spec: {{address: 127.0.0.1, ports: {{{port}: {listen}}}, serviceAccount: {account},
    labels: {{app: s{index}, security.istio.io/tlsMode: {label}}}}}}}
"""
    if client:
        more = ", insecureSkipVerify: true" if client == "SIMPLE" else ""
        made += f"""
---
{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: s{index}, namespace: default}},
  spec: {{host: s{index}, trafficPolicy: {{tls: {{mode: {client}{more}}}}}}}}}
"""
    if server:
        made += f"""
---
{{apiVersion: security.istio.io/v1, kind: PeerAuthentication,
  metadata: {{name: s{index}, namespace: default}},
  spec: {{selector: {{matchLabels: {{app: s{index}}}}}, mtls: {{mode: {server}}}}}}}
"""
    policy = AUTHORIZED[index % len(AUTHORIZED)]
    if policy:
        made += f"""
---
{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
  metadata: {{name: s{index}, namespace: default}},
  spec: {{selector: {{matchLabels: {{app: s{index}}}}}, {policy}}}}}
"""
    return made


def served(index: int, pair: tuple[str, ...], listen: int, app: int) -> Workload:
    name = pair[2]
    port = InboundPort(name, listen, "127.0.0.1", app, select_protocol(1000 + index, name, None))
    return Workload("default", f"s{index}", labels=(("app", f"s{index}"),), inbound=(port,))


def foretold(view: CompiledView, proxies: tuple[Proxy, ...], index: int) -> Explanation:
    return explain(view, proxies, parse_target(f"http://s{index}:{1000 + index}/", "GET", None, ()))


async def is_answered(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            return response.status == 200
    except (aiohttp.ClientError, ConnectionError):
        return False


@pytest.mark.slow
async def test_what_is_foretold_of_both_ends_comes_true() -> None:
    ports = free_ports(2 * len(PAIRS))
    listens = {index: (ports.pop(), ports.pop()) for index in range(len(PAIRS))}
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        text = "".join(documents(index, pair, listens[index][0]) for index, pair in enumerate(PAIRS))
        snapshot = snapshot_of(text)
        workloads = tuple(
            served(index, pair, listens[index][0], app.port) for index, pair in enumerate(PAIRS)
        )
        node = Proxy("node", Role.NODE, Capture.EXPLICIT, workloads, "127.0.0.1")
        upstreams = tuple(Upstream(f"s{index}", 1000 + index, listens[index][1]) for index in listens)
        caller = Workload("default", "client", upstreams=upstreams)
        client = Proxy("client", Role.SIDECAR, Capture.EXPLICIT, (caller,), "127.0.0.1")
        await stack.enter_async_context(envoy_for(snapshot, node))
        await stack.enter_async_context(envoy_for(snapshot, client))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        view = CompiledView.of(snapshot, client)
        wrong: list[Any] = []
        seen = set()
        for index, pair in enumerate(PAIRS):
            said = foretold(view, (node, client), index)
            answered = await is_answered(session, listens[index][1])
            seen.add(said.fate)
            if said.fate is Fate.UNKNOWN:
                assert pair[0] == "SIMPLE"  # the application may or may not end TLS by itself
            elif answered != (said.fate is Fate.ANSWERED):
                wrong.append((pair, answered, said.endings, said.doubts))
        assert wrong == []
        assert seen == set(Fate)
