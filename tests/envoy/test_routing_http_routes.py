"""A real Envoy routes as HTTPRoutes of the Gateway API say."""

import asyncio

import pytest
from routing_envoy import backend, http_route, http_route_host, routed_hosts


@pytest.mark.proves(
    "gateway_api.HTTPRouteMatch.path",
    "gateway_api.HTTPRouteMatch.headers",
    "gateway_api.HTTPRouteMatch.queryParams",
    "gateway_api.HTTPRouteMatch.method",
    "gateway_api.HTTPPathMatch.type",
    "gateway_api.HTTPPathMatch.value",
    "gateway_api.HeaderMatch.name",
    "gateway_api.HeaderMatch.value",
    "gateway_api.HeaderMatch.type",
)
async def test_the_most_specific_match_wins_wherever_it_is_written() -> None:
    older = http_route("""
- matches: [{path: {type: PathPrefix, value: /}}]
  backendRefs: [{name: root, port: 80}]
- matches: [{path: {type: PathPrefix, value: /foo}}]
  backendRefs: [{name: foo, port: 80}]
- matches: [{path: {type: PathPrefix, value: /foo}, headers: [{name: X-Flag, value: "on"}]}]
  backendRefs: [{name: flagged, port: 80}]
""")
    newer = http_route(
        """
- matches: [{path: {type: Exact, value: /foo/bar}}, {path: {type: PathPrefix, value: /foo/long/}}]
  backendRefs: [{name: exact, port: 80}]
- matches: [{path: {type: PathPrefix, value: /foo}, method: PUT}]
  backendRefs: [{name: method, port: 80}]
- matches: [{path: {type: PathPrefix, value: /foo}}]
  backendRefs: [{name: missing, port: 80}]
- matches: [{path: {type: RegularExpression, value: "/item/[0-9]+"}, queryParams: [{name: q, value: a}]}]
  backendRefs: [{name: exact, port: 80}]
- matches:
  - headers: [{name: x-user, type: RegularExpression, value: "jas.n"}]
    queryParams: [{name: q, type: RegularExpression, value: "[0-9]+"}]
  - headers: [{name: x-user, type: Exact, value: "j.*"}]
  backendRefs: [{name: exact, port: 80}]
""",
        name="newer",
        created="2026-01-02T00:00:00Z",
    )
    names = ("root", "foo", "flagged", "exact", "method")
    async with (
        backend("root") as root,
        backend("foo") as foo,
        backend("flagged") as flagged,
        backend("exact") as exact,
        backend("method") as method,
    ):
        ports = dict(zip(names, ([item.port] for item in (root, foo, flagged, exact, method)), strict=True))
        async with routed_hosts([http_route_host(older, newer)], ports) as client:
            asked = [
                ("/", "root"), ("/foo", "foo"), ("/foo/x", "foo"), ("/foobar", "root"),
                ("/foo/bar", "exact"), ("/foo/bar/x", "foo"), ("/foo/long/x", "exact"),
                ("/foo/longer", "foo"), ("/item/7?q=a", "exact"), ("/item/7?q=b", "root"),
            ]  # fmt: skip
            answers = [(path, (await client.send(path)).backend) for path, _ in asked]
            assert answers == asked
            assert (await client.send("/foo", x_flag="on")).backend == "flagged"
            assert (await client.send("/foo", "PUT", x_flag="on")).backend == "method"
            for query, user, expected in (
                ("1", "jason", "exact"), ("a", "jason", "root"), ("1", "jasons", "root"),
                ("a", "j.*", "exact"), ("a", "jab", "root"),
            ):  # fmt: skip
                assert (await client.send(f"/?q={query}", x_user=user)).backend == expected


@pytest.mark.proves(
    "gateway_api.HTTPRouteFilter.urlRewrite",
    "gateway_api.HTTPURLRewriteFilter.path",
    "gateway_api.HTTPURLRewriteFilter.hostname",
    "gateway_api.HTTPPathModifier.type",
    "gateway_api.HTTPPathModifier.replaceFullPath",
    "gateway_api.HTTPPathModifier.replacePrefixMatch",
)
async def test_paths_are_replaced_by_segments() -> None:
    cases = {
        "/one": ("/two", "/one/x?q=1", "/two/x?q=1"),
        "/whole": ("/two/", "/whole", "/two"),
        "/strip": ("/", "/strip/x", "/x"),
        "/bare": ("", "/bare", "/"),
        "/a.b": (r"/c\1", "/a.b/x", r"/c\1/x"),
    }
    rules = "".join(
        f"""
- matches: [{{path: {{value: '{prefix}'}}}}]
  filters:
  - type: URLRewrite
    urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{to}'}}}}
  backendRefs: [{{name: app, port: 80}}]
"""
        for prefix, (to, _, _) in cases.items()
    )
    rules += """
- matches: [{path: {value: /full}}]
  filters:
  - type: URLRewrite
    urlRewrite: {hostname: to.example, path: {type: ReplaceFullPath, replaceFullPath: /all}}
  backendRefs: [{name: app, port: 80}]
"""
    async with (
        backend("app") as app,
        routed_hosts([http_route_host(http_route(rules))], {"app": [app.port]}) as client,
    ):
        for _, asked, expected in cases.values():
            assert (await client.send(asked)).body["path"] == expected
        full = await client.send("/full/a/b?q=1")
    assert full.body["path"] == "/all?q=1"
    assert full.body["headers"]["host"] == "to.example"


@pytest.mark.proves(
    "gateway_api.HTTPRouteFilter.requestRedirect",
    "gateway_api.HTTPRequestRedirectFilter.scheme",
    "gateway_api.HTTPRequestRedirectFilter.hostname",
    "gateway_api.HTTPRequestRedirectFilter.path",
    "gateway_api.HTTPRequestRedirectFilter.port",
    "gateway_api.HTTPRequestRedirectFilter.statusCode",
)
async def test_redirects_name_scheme_host_port_and_path() -> None:
    rules = """
- matches: [{path: {value: /secure}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: a.example}}]
- matches: [{path: {value: /here}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /there}, statusCode: 301}
- matches: [{path: {value: /root}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {port: 9000, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
- matches: [{path: {value: /full}}]
  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
"""
    async with routed_hosts([http_route_host(http_route(rules))], {}) as client:
        replies = [await client.send(path) for path in ("/secure/a", "/here/a?q=1", "/root/a", "/full/a")]
    assert [(reply.status, reply.headers["location"]) for reply in replies] == [
        (302, "https://a.example/secure/a"),
        (301, "http://reviews:8080/there/a?q=1"),
        (302, "http://reviews:9000/a"),
        (302, "http://reviews:8080/x"),
    ]


async def test_broken_references_answer_500_for_their_share() -> None:
    rules = """
- matches: [{path: {value: /broken}}]
  backendRefs: [{name: missing, port: 80}]
- matches: [{path: {value: /none}}]
- matches: [{path: {value: /zero}}]
  backendRefs: [{name: app, port: 80, weight: 0}]
- backendRefs: [{name: app, port: 80, weight: 1}, {name: missing, port: 80, weight: 1}]
"""
    async with (
        backend("app") as app,
        routed_hosts([http_route_host(http_route(rules))], {"app": [app.port]}) as client,
    ):
        for path in ("/broken", "/none", "/zero"):
            assert (await client.send(path)).status == 500
        statuses = [(await client.send("/")).status for _ in range(400)]
    # Half of 400: a standard deviation of 10, bounds of five.
    assert 150 <= statuses.count(500) <= 250
    assert statuses.count(200) + statuses.count(500) == 400


@pytest.mark.proves(
    "gateway_api.HTTPRouteRule.filters",
    "gateway_api.HTTPRouteRule.timeouts",
    "gateway_api.HTTPRouteTimeouts.request",
    "gateway_api.HTTPRouteFilter.type",
    "gateway_api.HTTPRouteFilter.requestHeaderModifier",
    "gateway_api.HTTPRouteFilter.responseHeaderModifier",
    "gateway_api.HTTPHeaderFilter.set",
    "gateway_api.HTTPHeaderFilter.add",
    "gateway_api.HTTPHeaderFilter.remove",
    "gateway_api.HTTPHeader.name",
    "gateway_api.HTTPHeader.value",
)
async def test_header_filters_mirrors_and_timeouts_apply() -> None:
    rules = """
- matches: [{path: {value: /slow}}]
  timeouts: {request: 200ms}
  backendRefs: [{name: app, port: 80}]
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: X-Set, value: "100%"}], remove: [x-gone]}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-more, value: "1"}]}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}
  backendRefs:
  - name: app
    port: 80
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-backend, value: b}]}}]
"""
    async with backend("app") as app, backend("shadow") as shadow:
        clusters = {"app": [app.port], "shadow": [shadow.port]}
        async with routed_hosts([http_route_host(http_route(rules))], clusters) as client:
            reply = await client.send("/", x_gone="here")
            await asyncio.wait_for(shadow.arrived.wait(), 5)
            app.delay = 0.6
            slow = await client.send("/slow")
    sent = reply.body["headers"]
    assert (sent["x-set"], sent["x-backend"]) == ("100%", "b")
    assert "x-gone" not in sent
    assert reply.headers["x-more"] == "1"
    assert slow.status == 504
