"""A real Envoy rewrites, redirects, edits headers and answers directly as rules say."""

import base64

import pytest
from routing_envoy import backend, routed, virtual_service

ROUTE = "route: [{destination: {host: app}}]"


@pytest.mark.proves(
    "networking.HTTPRoute.rewrite",
    "networking.HTTPRewrite.uri",
    "networking.HTTPRewrite.authority",
    "networking.HTTPRewrite.uriRegexRewrite",
    "networking.RegexRewrite.match",
    "networking.RegexRewrite.rewrite",
)
async def test_uri_rewrites_replace_prefix_exact_path_or_regex() -> None:
    rules = f"""
- match: [{{uri: {{prefix: /old/}}}}]
  rewrite: {{uri: /new/}}
  {ROUTE}
- match: [{{uri: {{exact: /one}}}}]
  rewrite: {{uri: /two, authority: elsewhere.example}}
  {ROUTE}
- match: [{{uri: {{prefix: /users}}}}]
  rewrite: {{uriRegexRewrite: {{match: "^/users/([0-9]+)$", rewrite: '/accounts/\\1'}}}}
  {ROUTE}
- {ROUTE}
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        assert (await client.send("/old/x?q=1")).body["path"] == "/new/x?q=1"
        moved = await client.send("/one")
        assert moved.body["path"] == "/two"
        assert moved.body["headers"]["host"] == "elsewhere.example"
        assert (await client.send("/users/42")).body["path"] == "/accounts/42"
        assert (await client.send("/kept")).body["path"] == "/kept"


@pytest.mark.proves(
    "networking.HTTPRoute.redirect",
    "networking.HTTPRedirect.uri",
    "networking.HTTPRedirect.authority",
    "networking.HTTPRedirect.scheme",
    "networking.HTTPRedirect.port",
    "networking.HTTPRedirect.derivePort",
    "networking.HTTPRedirect.redirectCode",
)
async def test_redirects_carry_every_field() -> None:
    rules = """
- match: [{uri: {exact: /plain}}]
  redirect: {uri: /there}
- match: [{uri: {exact: /full}}]
  redirect: {uri: /there, authority: example.org, scheme: https, port: 8443, redirectCode: 308}
- match: [{uri: {exact: /derived}}]
  redirect: {authority: example.org, derivePort: FROM_REQUEST_PORT, redirectCode: 302}
- match: [{uri: {exact: /default}}]
  redirect: {authority: example.org, derivePort: FROM_PROTOCOL_DEFAULT, redirectCode: 303}
- match: [{uri: {exact: /known}}]
  redirect: {authority: example.org, scheme: https, port: 443, redirectCode: 307}
"""
    async with routed(virtual_service(rules), {}) as client:
        plain, full, derived, default, known = [
            await client.send(path) for path in ("/plain", "/full", "/derived", "/default", "/known")
        ]
    assert (plain.status, plain.headers["location"]) == (301, "http://reviews:9080/there")
    assert (full.status, full.headers["location"]) == (308, "https://example.org:8443/there")
    assert (derived.status, derived.headers["location"]) == (302, "http://example.org:9080/derived")
    assert (default.status, default.headers["location"]) == (303, "http://example.org/default")
    assert (known.status, known.headers["location"]) == (307, "https://example.org/known")


@pytest.mark.proves(
    "networking.HTTPRoute.headers",
    "networking.HTTPRouteDestination.headers",
    "networking.Headers.request",
    "networking.Headers.response",
    "networking.HeaderOperations.set",
    "networking.HeaderOperations.add",
    "networking.HeaderOperations.remove",
)
async def test_headers_are_set_added_and_removed_on_rule_and_destination() -> None:
    rules = """
- headers:
    request: {set: {x-set: rule, Host: given.example}, add: {x-add: more}, remove: [x-gone]}
    response: {set: {x-answer: rule}, remove: [x-from-app-2]}
  route:
  - destination: {host: app}
    headers: {request: {add: {x-dest: one}}, response: {add: {x-answer: dest}}}
"""
    async with backend("app") as app, routed(virtual_service(rules), {"app": [app.port]}) as client:
        reply = await client.send("/", x_set="client", x_add="client", x_gone="here")
    sent = reply.body["headers"]
    assert sent["x-set"] == "rule"
    assert sent["x-add"] in ("client, more", "client,more", "more")
    assert "x-gone" not in sent
    assert sent["x-dest"] == "one"
    assert sent["host"] == "given.example"
    assert reply.headers["x-answer"] in ("rule", "dest")


@pytest.mark.proves(
    "networking.HTTPRoute.directResponse",
    "networking.HTTPDirectResponse.status",
    "networking.HTTPDirectResponse.body",
    "networking.HTTPBody.string",
    "networking.HTTPBody.bytes",
)
async def test_direct_responses_have_status_and_body() -> None:
    raw = base64.b64encode(b"\x00bytes").decode()
    rules = f"""
- match: [{{uri: {{exact: /text}}}}]
  directResponse: {{status: 418, body: {{string: teapot}}}}
- directResponse: {{status: 200, body: {{bytes: {raw}}}}}
"""
    async with routed(virtual_service(rules), {}) as client:
        text, data = await client.send("/text"), await client.send("/data")
    assert (text.status, text.text) == (418, "teapot")
    assert (data.status, data.text) == (200, "\x00bytes")


async def test_websockets_pass_through_routes() -> None:
    rules = f"- match: [{{uri: {{prefix: /ws}}}}]\n  {ROUTE}"
    async with (
        backend("app") as app,
        routed(virtual_service(rules), {"app": [app.port]}) as client,
        client.websocket("/ws") as socket,
    ):
        await socket.send_str("hello")
        assert await socket.receive_str() == "app:hello"
