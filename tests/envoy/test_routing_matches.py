"""A real Envoy sends each request to the rule whose match holds, in the order of the rules."""

from contextlib import AsyncExitStack

import pytest
from routing_envoy import RoutedClient, backend, routed, virtual_service

RULES = """
- match: [{uri: {exact: /exact}}]
  route: [{destination: {host: exact}}]
- match: [{uri: {prefix: /UPPER}, ignoreUriCase: true}]
  route: [{destination: {host: nocase}}]
- match: [{uri: {regex: "/item/[0-9]+"}}]
  route: [{destination: {host: regex}}]
- match: [{method: {exact: PUT}}]
  route: [{destination: {host: method}}]
- match: [{headers: {end-user: {exact: jason}}, uri: {prefix: /h}}]
  route: [{destination: {host: header}}]
- match: [{headers: {x-flag: {}}}]
  route: [{destination: {host: present}}]
- match: [{queryParams: {page: {prefix: "1"}}}]
  route: [{destination: {host: query}}]
- match: [{authority: {prefix: other}}]
  route: [{destination: {host: authority}}]
- match: [{uri: {prefix: /without}, withoutHeaders: {x-skip: {exact: "yes"}}}]
  route: [{destination: {host: without}}]
- match: [{uri: {prefix: /a}, method: {exact: POST}}, {uri: {prefix: /b}}]
  route: [{destination: {host: either}}]
- match: [{uri: {prefix: /b/never}}]
  route: [{destination: {host: exact}}]
- match: [{uri: {prefix: /rest}}]
  route: [{destination: {host: rest}}]
"""
HOSTS = (
    "exact", "nocase", "regex", "method", "header", "present", "query", "authority", "without", "either",
    "rest",
)  # fmt: skip

CASES = [
    ("/exact", {}, "exact"),
    ("/exact/more", {}, ""),
    ("/upper/x", {}, "nocase"),
    ("/item/12", {}, "regex"),
    ("/item/12x", {}, ""),
    ("/any", {"method": "PUT"}, "method"),
    ("/h", {"end_user": "jason"}, "header"),
    ("/h", {"end_user": "jasonx"}, ""),
    ("/zzz", {"x_flag": "anything"}, "present"),
    ("/zzz?page=12", {}, "query"),
    ("/zzz?page=2", {}, ""),
    ("/without", {}, "without"),
    ("/without", {"x_skip": "no"}, "without"),
    ("/without", {"x_skip": "yes"}, ""),
    ("/a", {"method": "POST"}, "either"),
    ("/a", {}, ""),
    ("/b", {}, "either"),
    ("/b/never", {}, "either"),
    ("/rest", {}, "rest"),
    ("/unknown", {}, ""),
]


async def ask(client: RoutedClient, path: str, options: dict[str, str]) -> str:
    reply = await client.send(path, options.get("method", "GET"), **{
        name: value for name, value in options.items() if name != "method"
    })  # fmt: skip
    assert reply.status == (200 if reply.backend else 404)
    return reply.backend


@pytest.mark.proves(
    "networking.VirtualServiceSpec.http",
    "networking.HTTPRoute.match",
    "networking.HTTPMatchRequest.uri",
    "networking.HTTPMatchRequest.method",
    "networking.HTTPMatchRequest.headers",
    "networking.HTTPMatchRequest.queryParams",
    "networking.HTTPMatchRequest.authority",
    "networking.HTTPMatchRequest.withoutHeaders",
    "networking.HTTPMatchRequest.ignoreUriCase",
    "networking.StringMatch.exact",
    "networking.StringMatch.prefix",
    "networking.StringMatch.regex",
)
async def test_each_kind_of_match_selects_its_rule_and_no_match_is_404() -> None:
    async with AsyncExitStack() as stack:
        ports = {name: [(await stack.enter_async_context(backend(name))).port] for name in HOSTS}
        client = await stack.enter_async_context(routed(virtual_service(RULES), ports))
        answers = [(path, options, await ask(client, path, options)) for path, options, _ in CASES]
    assert answers == CASES


@pytest.mark.parametrize("flags", ["case", "default"])
@pytest.mark.proves(
    "networking.HTTPMatchRequest.ignoreUriCase",
    "networking.Destination.subset",
)
async def test_a_rule_without_match_takes_what_is_left(flags: str) -> None:
    ignore = "true" if flags == "case" else "false"
    rules = f"""
- match: [{{uri: {{exact: /V2}}, ignoreUriCase: {ignore}}}]
  route: [{{destination: {{host: reviews, subset: v2}}}}]
- route: [{{destination: {{host: reviews, subset: v1}}}}]
"""
    async with backend("v1") as v1, backend("v2") as v2:
        clusters = {"reviews/v1": [v1.port], "reviews/v2": [v2.port]}
        async with routed(virtual_service(rules), clusters) as client:
            assert (await client.send("/anything")).backend == "v1"
            assert (await client.send("/v2")).backend == ("v2" if flags == "case" else "v1")
