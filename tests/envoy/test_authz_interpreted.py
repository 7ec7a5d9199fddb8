"""What `marline authz` says of generated policies and requests is what a real proxy then does."""

import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import yaml
from authorization_servers import http_authorizer
from routing_envoy import backend
from static_mesh import envoy_for, free_port, snapshot_of
from test_core_mtls import CLIENT_ID, PERMISSIVE
from test_custom_authorization import HTTP, entry, mesh_config

from marline.explain.access import ALLOWED, ASKED, DENIED, Caller, accesses
from marline.explain.arrival import Peers
from marline.explain.request import Request
from marline.mesh.model import Capture, InboundPort, Protocol, Proxy, Role, Upstream, Workload

SERVICES = 14
REQUESTS = 24
PATHS = ("/", "/a", "/a/b", "/a/b/c", "/b?x=1", "/a/../b", "/a/x.y", "/a%2fb")
METHODS = ("GET", "POST")
USERS = ("", "ann", "anna", "bob")
CALLER = CLIENT_ID.removeprefix("spiffe://")
FIELDS: dict[str, tuple[str, ...]] = {
    "paths": ("/a", "/a*", "*/b", "/a/{*}/c", "/a/{**}", "*"),
    "methods": ("GET", "POST"),
    "hosts": ("s1.test", "S*", "*.test"),
    "principals": (CALLER, "cluster.local/ns/other/*", "*", "*/sa/productpage"),
    "namespaces": ("default", "other"),
    "ipBlocks": ("127.0.0.0/8", "10.0.0.0/8"),
}
CONDITIONS = {
    "request.headers[x-user]": ("ann", "an*", "*b", "*"),
    "source.namespace": ("default", "other"),
    "destination.port": ("1", "2"),
}


def policy(draw: random.Random, name: str, service: str) -> dict[str, Any]:
    action = draw.choice(("ALLOW", "ALLOW", "DENY", "CUSTOM"))
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": service}}, "action": action}
    if action == "CUSTOM":
        spec["provider"] = {"name": "old"}
    spec["rules"] = [rule(draw) for _ in range(draw.randint(1, 2))]
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def rule(draw: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw.random() < 0.7:
        made["to"] = [{"operation": some(draw, ("paths", "methods", "hosts"))}]
    if draw.random() < 0.5:
        made["from"] = [{"source": some(draw, ("principals", "namespaces", "ipBlocks"))}]
    if draw.random() < 0.4:
        key = draw.choice(tuple(CONDITIONS))
        field = draw.choice(("values", "notValues"))
        made["when"] = [{"key": key, field: draw.sample(CONDITIONS[key], draw.randint(1, 2))}]
    return made


def some(draw: random.Random, names: tuple[str, ...]) -> dict[str, list[str]]:
    found = {}
    for name in draw.sample(names, draw.randint(1, 2)):
        written = name if draw.random() < 0.6 else f"not{name[0].upper()}{name[1:]}"
        found[written] = draw.sample(FIELDS[name], draw.randint(1, 2))
    return found


def service(name: str, port: int) -> list[dict[str, Any]]:
    metadata, labels = {"name": name, "namespace": "default"}, {"app": name}
    spec = {"selector": labels, "ports": [{"name": "http", "port": 80}]}
    workload = {
        "address": "127.0.0.1",
        "ports": {"http": port},
        "labels": {**labels, "security.istio.io/tlsMode": "istio"},
        "serviceAccount": "reviews",
    }
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec},
        {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": metadata,
         "spec": workload},
    ]  # fmt: skip


async def test_what_is_told_is_what_happens() -> None:
    draw = random.Random(7)
    inbound = {f"s{number}": free_port() for number in range(SERVICES)}
    outbound = {name: free_port() for name in inbound}
    described = [item for name, port in inbound.items() for item in service(name, port)]
    for name in inbound:
        described += [policy(draw, f"{name}-{number}", name) for number in range(draw.randint(1, 3))]
    verdicts: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        asked = await stack.enter_async_context(http_authorizer())
        asked.verdict = True
        text = yaml.safe_dump_all(described) + PERMISSIVE % "PERMISSIVE" + entry(HTTP, asked.port, "HTTP")
        snapshot = snapshot_of(text + mesh_config())
        workloads = tuple(
            Workload(
                "default", name, "reviews", (("app", name),), "127.0.0.1",
                (InboundPort("http", port, "127.0.0.1", app.port, Protocol.HTTP),),
            )
            for name, port in inbound.items()
        )  # fmt: skip
        server = Proxy("server", Role.NODE, Capture.EXPLICIT, workloads)
        upstreams = tuple(Upstream(name, 80, port) for name, port in outbound.items())
        client = Proxy(
            "client", Role.SIDECAR, Capture.EXPLICIT,
            (Workload("default", "productpage-1", "productpage", upstreams=upstreams),),
        )  # fmt: skip
        for proxy in (server, client):
            await stack.enter_async_context(envoy_for(snapshot, proxy))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        peers = Peers.of((server,))
        for name in inbound:
            found = snapshot.services[f"{name}.default.svc.cluster.local"]
            for _ in range(REQUESTS):
                plain = draw.random() < 0.3
                path, method, user = draw.choice(PATHS), draw.choice(METHODS), draw.choice(USERS)
                host = draw.choice(("s1.test", "other"))
                headers = {"Host": host, **({"x-user": user} if user else {})}
                port = (inbound if plain else outbound)[name]
                before = len(asked.seen)
                async with session.request(
                    method, f"http://127.0.0.1:{port}{path}", headers=headers
                ) as response:
                    status = response.status
                caller = Caller("" if plain else CLIENT_ID, "127.0.0.1")
                sent = Request(
                    host if plain else f"{name}:80", method, path, "http", (("x-user", user),) if user else ()
                )
                [answer] = accesses(snapshot, peers, caller, found, found.ports[0], sent)
                shown = (name, method, path, host, user, plain, answer)
                assert (status == 403) == (answer.verdict == DENIED), shown
                if answer.verdict in (ALLOWED, ASKED):
                    assert (len(asked.seen) > before) == (answer.verdict == ASKED), shown
                verdicts[answer.verdict] += 1
    assert min(verdicts[item] for item in (ALLOWED, ASKED, DENIED)) > 20, verdicts
