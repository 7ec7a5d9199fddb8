"""What the interpreter says of a request is what a running Envoy does with it, whatever the rules."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from envoy.config.route.v3 import route_pb2
from explain_requests import BACKENDS, Draw
from routing_envoy import backend, cluster, http_route_host, route_listener, rule_set, run_envoy

from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.routes_hosts import build_virtual_host
from marline.compile.routes_targets import Target
from marline.explain.paths import normalized
from marline.explain.request import Request
from marline.explain.routing import Decision, decide

HOSTS = 120
REQUESTS_EACH = 12


def rules_host(draw: Draw, name: str, domains: tuple[str, ...]) -> Any | None:
    """A virtual host of a VirtualService; None if that is refused."""
    made = draw.virtual_service()
    return build_virtual_host(f"9080/{name}", domains, rule_set(made), None, "") if made is not None else None


def routes_host(draw: Draw, name: str, domains: tuple[str, ...]) -> Any | None:
    """A virtual host of an HTTPRoute; None if that is refused."""
    made = draw.http_route()
    if made is None:
        return None
    backends = {
        backend_key(item): Target(item.name) if item.name in BACKENDS else None
        for item in references(made.spec)
    }
    host = http_route_host(RouteSet(made, "http", 8080, tuple(backends.items())))
    host.name = name
    host.domains[:] = domains
    return host


def virtual_hosts(draw: Draw, make: Callable[[Draw, str, tuple[str, ...]], Any | None]) -> list[Any]:
    made: list[Any] = []
    while len(made) < HOSTS:
        name = f"host-{len(made)}.example"
        host = make(draw, name, (name, f"{name}:9080", f"{name}:80"))
        if host is not None:
            made.append(host)
    return made


async def ask(port: int, request: Request) -> tuple[int, str, str, str, str]:
    """Status, cluster, path and host there, and location, of what Envoy answers. Written by hand: HTTP
    clients mend paths."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {request.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    writer.write("\r\n".join([*lines, "content-length: 0", "", ""]).encode())
    first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    received = dict(field.split(": ", 1) for field in fields)
    body = await reader.readexactly(int(received.get("content-length", "0")))
    writer.close()
    status, location = int(first.split()[1]), received.get("location", "")
    if "x-from-app" not in received:
        return status, "", "", "", location
    said = json.loads(body)
    return status, said["backend"], said["path"], said["headers"]["host"], location


def foretold(decision: Decision) -> list[tuple[int, str, str, str, str]]:
    found = []
    for item in decision.outcomes:
        if item.share <= 0:
            continue
        if item.request is None:
            found.append((item.status, "", "", "", item.location))
        elif item.cluster in BACKENDS:
            found.append((200, item.cluster, item.request.path, item.request.authority, ""))
        else:
            found.append((item.missing, "", "", "", ""))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", [rules_host, routes_host])
@pytest.mark.parametrize("seed", range(3))
async def test_what_is_foretold_comes_true(
    seed: int, make: Callable[[Draw, str, tuple[str, ...]], Any | None]
) -> None:
    draw = Draw(seed)
    hosts = virtual_hosts(draw, make)
    table = route_pb2.RouteConfiguration(virtual_hosts=hosts)
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(backend(name)) for name in BACKENDS]
        listener = route_listener(hosts)
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["normalize_path"] = True
        clusters = [cluster(item.name, [item.port]) for item in backends]
        envoy = await stack.enter_async_context(run_envoy({"listeners": [listener], "clusters": clusters}))
        kinds: Counter[str] = Counter()
        for index in range(HOSTS):
            for _ in range(REQUESTS_EACH):
                request = draw.request(f"host-{index}.example")
                path = normalized(request.path, normalize=True)
                decision = decide(table, hosts, replace(request, path=path))
                seen = await ask(envoy.ports["routes"], request)
                assert seen in foretold(decision), f"{request}\n{hosts[index]}"
                kinds.update(item.by for item in decision.outcomes)
        common = {"cluster", "redirect", "direct response", "cors", "no route"}
        assert set(kinds) >= common, kinds
