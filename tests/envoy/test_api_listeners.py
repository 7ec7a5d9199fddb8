"""A real Envoy listens as Gateways and ListenerSets say: whose requests are whose."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml
from api_gateway import document, edge, gateway, route, secret, service, trusting
from routing_envoy import Backend, backend
from tls_servers import WebAuthority


async def backends(stack: AsyncExitStack, *names: str) -> tuple[str, dict[str, Backend]]:
    """Services of these names, as resources."""
    made = {name: await stack.enter_async_context(backend(name)) for name in names}
    return "".join(service(name, item.port) for name, item in made.items()), made


def to(name: str, spec: str = "{}") -> str:
    return f"{{rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}], {spec.strip('{}')}}}"


@pytest.mark.proves(
    "gateway_api.Listener.hostname",
    "gateway_api.Listener.port",
    "gateway_api.Listener.protocol",
    "gateway_api.Listener.name",
    "gateway_api.ParentReference.sectionName",
    "gateway_api.ParentReference.port",
    "gateway_api.HTTPRouteSpec.hostnames",
    "gateway_api.HTTPRouteSpec.parentRefs",
)
async def test_a_host_belongs_to_the_listener_with_the_narrowest_name() -> None:
    listeners = """
- {name: all, port: 80, protocol: HTTP}
- {name: wild, port: 80, protocol: HTTP, hostname: "*.example.com"}
- {name: one, port: 80, protocol: HTTP, hostname: one.example.com}
- {name: other, port: 81, protocol: HTTP}
"""
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "a", "w", "o", "p")
        text += gateway(listeners)
        for name, parent, hosts in (
            ("a", "sectionName: all", "[]"), ("w", "sectionName: wild", "[]"), ("p", "port: 81", "[]"),
            ("o", "sectionName: one", "[one.example.com, two.example.com]"),
        ):  # fmt: skip
            text += route(
                "HTTPRoute", name, to(name, f"parentRefs: [{{name: edge, {parent}}}], hostnames: {hosts}")
            )
        text += route(
            "HTTPRoute",
            "b",
            to("p", "parentRefs: [{name: edge, sectionName: all}], hostnames: [x.example.com]"),
        )
        running = await stack.enter_async_context(edge(text, 80, 81))
        for host, expected in (("else.org", "a"), ("two.example.com", "w"), ("one.example.com", "o")):
            assert (await running.send(80, host)).backend == expected
        # Its route is at the listener for all hosts, but the host is the wildcard listener's.
        assert (await running.send(80, "x.example.com")).backend == "w"
        assert (await running.send(81, "one.example.com")).backend == "p"


@pytest.mark.proves(
    "gateway_api.AllowedRoutes.namespaces",
    "gateway_api.AllowedRoutes.kinds",
    "gateway_api.RouteNamespaces.from",
    "gateway_api.RouteNamespaces.selector",
    "gateway_api.LabelSelector.matchLabels",
    "gateway_api.Listener.allowedRoutes",
)
async def test_only_allowed_routes_are_served() -> None:
    listeners = """
- {name: own, port: 80, protocol: HTTP}
- {name: any, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
- name: chosen
  port: 82
  protocol: HTTP
  allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: web}}}}
- {name: grpc, port: 83, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}
"""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        text = gateway(listeners)
        text += "---\n{apiVersion: v1, kind: Namespace, metadata: {name: web, labels: {team: web}}}\n"
        for namespace in ("web", "dev"):
            text += service("app", app.port, namespace)
            spec = to(
                "app", f"parentRefs: [{{name: edge, namespace: default}}], hostnames: [{namespace}.org]"
            )
            text += route("HTTPRoute", "it", spec, namespace)
        running = await stack.enter_async_context(edge(text, 80, 81, 82, 83))
        found = {
            (host, number): (await running.send(number, host)).status
            for host in ("web.org", "dev.org")
            for number in (80, 81, 82, 83)
        }
    served = [key for key, status in found.items() if status == 200]
    assert served == [("web.org", 81), ("web.org", 82), ("dev.org", 81)]


@pytest.mark.proves(
    "gateway_api.ListenerTLSConfig.mode",
    "gateway_api.ListenerTLSConfig.certificateRefs",
    "gateway_api.SecretObjectReference.name",
)
async def test_requests_over_a_connection_for_another_listener_are_sent_back() -> None:
    authority = WebAuthority()
    listeners = "\n".join(
        f"- {{name: {name}, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}{host}}}"
        for name, host in (("all", ""), ("one", ", hostname: one.org"), ("wild", ", hostname: '*.wild.org'"))
    )
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "all", "one", "wild")
        made = authority.issue("one.org", "*.wild.org", "else.org")
        text += gateway(listeners) + secret("cert", made.certificate, made.key)
        for name in ("all", "one", "wild"):
            text += route("HTTPRoute", name, to(name, f"parentRefs: [{{name: edge, sectionName: {name}}}]"))
        running = await stack.enter_async_context(edge(text, 443))
        context = trusting(authority.certificate)
        for name, host, expected in (
            ("one.org", "one.org", (200, "one")), ("a.wild.org", "b.wild.org", (200, "wild")),
            ("else.org", "more.org", (200, "all")), ("one.org", "a.wild.org", (421, "")),
            ("a.wild.org", "one.org", (421, "")), ("one.org", "else.org", (421, "")),
            ("else.org", "one.org", (421, "")),
        ):  # fmt: skip
            reply = await running.send_tls(443, name, context, host)
            assert (reply.status, reply.backend) == expected, (name, host)


@pytest.mark.proves(
    "gateway_api.ListenerSetSpec.parentRef",
    "gateway_api.ListenerSetSpec.listeners",
    "gateway_api.GatewaySpec.allowedListeners",
    "gateway_api.AllowedListeners.namespaces",
    "gateway_api.ListenerNamespaces.from",
    "gateway_api.ParentGatewayReference.name",
    "gateway_api.ParentGatewayReference.namespace",
    "gateway_api.ParentReference.kind",
)
async def test_listener_sets_add_listeners_where_they_are_allowed(tmp_path: Path) -> None:
    listeners = "- {name: http, port: 80, protocol: HTTP, hostname: own.org}"
    more = """
parentRef: {name: edge, namespace: default}
listeners:
- {name: http, port: 80, protocol: HTTP, hostname: more.org}
- {name: taken, port: 80, protocol: HTTP, hostname: own.org}
- {name: raw, port: 80, protocol: TCP}
- {name: other, port: 81, protocol: HTTP}
"""
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "own")
        app = await stack.enter_async_context(backend("app"))
        text += gateway(listeners, allowedListeners={"namespaces": {"from": "All"}})
        text += route("HTTPRoute", "own", to("own"))
        text += document("ListenerSet", "more", yaml.safe_load(more), "team") + service(
            "app", app.port, "team"
        )
        text += route("HTTPRoute", "team", to("app", "parentRefs: [{kind: ListenerSet, name: more}]"), "team")
        closed = text.replace("from: All", "from: Same")
        async with edge(text, 80, 81) as running:
            assert (await running.send(80, "own.org")).backend == "own"
            assert (await running.send(80, "more.org")).backend == "app"
            assert (await running.send(81, "any.org")).backend == "app"
            assert running.conditions("ListenerSet", "more") == {
                "Accepted": ("True", "ListenersNotValid"), "Programmed": ("True", "Programmed"),
            }  # fmt: skip
            told = {
                ref.name: status for ref, status in running.told() if ref.kind in ("ListenerSet", "Gateway")
            }
            judged = {item["name"]: item for item in told["more"]["listeners"]}
            reasons = {name: item["conditions"][0]["reason"] for name, item in judged.items()}
            assert reasons == {
                "http": "Accepted", "taken": "HostnameConflict",
                "raw": "ProtocolConflict", "other": "Accepted",
            }  # fmt: skip
            assert judged["http"]["attachedRoutes"] == 1
            assert told["edge"]["attachedListenerSets"] == 1
        async with edge(closed, 80) as running:
            assert (await running.send(80, "more.org")).status == 404
            assert running.conditions("ListenerSet", "more")["Accepted"] == ("False", "NotAllowed")
            assert running.conditions("HTTPRoute", "team")["Accepted"] == ("False", "NoMatchingParent")


@pytest.mark.proves("gateway_api.GatewaySpec.defaultScope", "gateway_api.HTTPRouteSpec.useDefaultGateways")
async def test_default_gateways_have_the_routes_that_want_them() -> None:
    listeners = "- {name: http, port: 80, protocol: HTTP}"
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "app")
        text += route(
            "HTTPRoute", "wants", to("app", "parentRefs: [], useDefaultGateways: All, hostnames: [a.org]")
        )
        text += route("HTTPRoute", "not", to("app", "parentRefs: [], hostnames: [b.org]"))
        text += gateway(listeners, defaultScope="All")
        running = await stack.enter_async_context(edge(text, 80))
        assert (await running.send(80, "a.org")).backend == "app"
        assert (await running.send(80, "b.org")).status == 404


@pytest.mark.proves(
    "gateway_api.GatewaySpec.addresses",
    "gateway_api.GatewaySpec.infrastructure",
    "gateway_api.GatewayAddress.value",
    "gateway_api.GatewayAddress.type",
    "gateway_api.GatewayInfrastructure.parametersRef",
    "gateway_api.InfrastructureParameters.group",
    "gateway_api.InfrastructureParameters.kind",
    "gateway_api.InfrastructureParameters.name",
)
async def test_a_gateway_with_demands_that_nobody_fulfils_is_not_served() -> None:
    parameters = {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "p"}}
    demands = {
        "here": (80, {"addresses": [{"value": "127.0.0.1"}]}),
        "any": (81, {"addresses": [{"type": "IPAddress"}]}),
        "elsewhere": (82, {"addresses": [{"value": "127.0.0.99"}]}),
        "named": (83, {"addresses": [{"type": "Hostname", "value": "a.org"}]}),
        "parameters": (84, {"infrastructure": parameters}),
    }
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "app")
        parents = ", ".join(f"{{name: {name}}}" for name in demands)
        text += route("HTTPRoute", "it", to("app", f"parentRefs: [{parents}]"))
        for name, (port, spec) in demands.items():
            text += gateway(f"- {{name: http, port: {port}, protocol: HTTP}}", name, **spec)
        running = await stack.enter_async_context(edge(text, 80, 81, 82, 83, 84))
        for number in (80, 81):
            assert (await running.send(number, "a.org")).backend == "app"
        assert len(running.envoy.ports) == 2
        assert running.conditions("Gateway", "here")["Programmed"] == ("True", "Programmed")
        assert running.conditions("Gateway", "elsewhere")["Programmed"] == ("False", "AddressNotUsable")
        assert running.conditions("Gateway", "named")["Accepted"] == ("False", "UnsupportedAddress")
        assert running.conditions("Gateway", "parameters")["Accepted"] == ("False", "InvalidParameters")
