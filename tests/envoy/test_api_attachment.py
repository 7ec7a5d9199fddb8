"""A real Envoy serves the Gateways of Marline's classes, and the routes that their listeners take."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml
from api_gateway import GROUP, Edge, document, edge, gateway, route, secret, service, trusting
from routing_envoy import backend
from tcp_servers import naming, tcp_server
from test_api_l4_routes import said
from test_api_listeners import backends, to
from test_api_udp_routes import datagrams
from test_routing_grpc_routes import grpc_backend
from tls_servers import WebAuthority, https_server
from udp_servers import SILENCE_SECONDS, ask, udp_server


def gateway_class(name: str, **spec: Any) -> str:
    head = {"apiVersion": f"{GROUP}/v1", "kind": "GatewayClass", "metadata": {"name": name}}
    return "---\n" + yaml.safe_dump({**head, "spec": spec})


def statuses(running: Edge, kind: str) -> dict[str, dict[str, Any]]:
    return {ref.name: status for ref, status in running.told() if ref.kind == kind}


OURS = "marline.io/gateway-controller"


@pytest.mark.proves(
    "gateway_api.GatewayClassSpec.controllerName",
    "gateway_api.GatewayClassSpec.parametersRef",
    "gateway_api.ParametersReference.group",
    "gateway_api.ParametersReference.kind",
    "gateway_api.ParametersReference.name",
    "gateway_api.ParametersReference.namespace",
    "gateway_api.GatewaySpec.gatewayClassName",
    "gateway_api.ParentReference.name",
)
async def test_gateways_of_other_controllers_and_of_classes_with_parameters_are_left_alone() -> None:
    parameters = {"group": "", "kind": "ConfigMap", "name": "p", "namespace": "default"}
    text = gateway_class("own", controllerName=OURS)
    text += gateway_class("foreign", controllerName="example.com/controller")
    text += gateway_class("tuned", controllerName=OURS, parametersRef=parameters)
    async with AsyncExitStack() as stack:
        names = ("marline", "own", "foreign", "unknown", "tuned")
        more, _ = await backends(stack, *names)
        text += more
        for number, name in enumerate(names, 80):
            listener = f"- {{name: http, port: {number}, protocol: HTTP}}"
            text += gateway(listener, name).replace("gatewayClassName: marline", f"gatewayClassName: {name}")
            text += route("HTTPRoute", name, to(name, f"parentRefs: [{{name: {name}}}]"))
        running = await stack.enter_async_context(edge(text, *range(80, 80 + len(names))))
        assert (await running.send(80, "a.org")).backend == "marline"
        assert (await running.send(81, "a.org")).backend == "own"
        assert len(running.envoy.ports) == 2
        assert statuses(running, "Gateway").keys() == {"marline", "own"}
        assert statuses(running, "GatewayClass").keys() == {"own", "tuned"}
        assert running.conditions("GatewayClass", "own")["Accepted"] == ("True", "Accepted")
        assert running.conditions("GatewayClass", "tuned")["Accepted"] == ("False", "InvalidParameters")


@pytest.mark.proves(
    "gateway_api.LabelSelector.matchExpressions",
    "gateway_api.LabelSelectorRequirement.key",
    "gateway_api.LabelSelectorRequirement.operator",
    "gateway_api.LabelSelectorRequirement.values",
)
async def test_namespaces_are_chosen_by_what_their_labels_are_and_are_not() -> None:
    chosen = {
        "{key: tier, operator: In, values: [gold, silver]}": {"gold"},
        "{key: tier, operator: NotIn, values: [gold]}": {"bronze", "bare"},
        "{key: tier, operator: Exists}": {"gold", "bronze"},
        "{key: tier, operator: DoesNotExist}": {"bare"},
    }
    namespaces = {"gold": {"tier": "gold"}, "bronze": {"tier": "bronze"}, "bare": {}}
    listeners = "".join(
        f"""
- name: l{number}
  port: {number}
  protocol: HTTP
  allowedRoutes: {{namespaces: {{from: Selector, selector: {{matchExpressions: [{expression}]}}}}}}
"""
        for number, expression in enumerate(chosen, 80)
    )
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        text = gateway(listeners)
        for name, labels in namespaces.items():
            metadata = {"name": name, "labels": labels}
            text += "---\n" + yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            parents = "parentRefs: [{name: edge, namespace: default}]"
            text += service("app", app.port, name)
            text += route("HTTPRoute", "it", to("app", f"{parents}, hostnames: [{name}.org]"), name)
        numbers = range(80, 80 + len(chosen))
        running = await stack.enter_async_context(edge(text, *numbers))
        for number, expected in zip(numbers, chosen.values(), strict=True):
            replies = {name: await running.send(number, f"{name}.org") for name in namespaces}
            assert {name for name, reply in replies.items() if reply.status == 200} == expected


@pytest.mark.proves(
    "gateway_api.RouteGroupKind.group",
    "gateway_api.RouteGroupKind.kind",
    "gateway_api.ParentGatewayReference.group",
    "gateway_api.ParentGatewayReference.kind",
)
async def test_kinds_are_those_of_a_group() -> None:
    kinds = {
        80: f"{{group: {GROUP}, kind: HTTPRoute}}",
        81: "{group: example.com, kind: HTTPRoute}",
        82: "{kind: GRPCRoute}",
        83: "{kind: TCPRoute}",
    }
    listeners = "".join(
        f"- {{name: l{number}, port: {number}, protocol: HTTP, allowedRoutes: {{kinds: [{kind}]}}}}\n"
        for number, kind in kinds.items()
    )
    parents = {
        84: {"name": "edge", "group": GROUP, "kind": "Gateway"},
        85: {"name": "edge", "kind": "Service"},
        86: {"name": "edge", "group": "example.com"},
    }
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "app")
        text += gateway(listeners, allowedListeners={"namespaces": {"from": "Same"}})
        text += route("HTTPRoute", "app", to("app"))
        for number, parent in parents.items():
            listener = {"name": "http", "port": number, "protocol": "HTTP"}
            text += document("ListenerSet", f"s{number}", {"parentRef": parent, "listeners": [listener]})
            own = f"parentRefs: [{{kind: ListenerSet, name: s{number}}}]"
            text += route("HTTPRoute", f"s{number}", to("app", own))
        running = await stack.enter_async_context(edge(text, *kinds, *parents))
        served = {number: (await running.send(number, "a.org")).status for number in (*kinds, 84)}
        assert served == {80: 200, 81: 404, 82: 404, 83: 404, 84: 200}
        assert len(running.envoy.ports) == len(served)
        assert statuses(running, "ListenerSet").keys() == {"s84"}
        listed = statuses(running, "Gateway")["edge"]["listeners"]
        reasons = {item["name"]: {told["reason"] for told in item["conditions"]} for item in listed}
        assert {name for name, told in reasons.items() if "InvalidRouteKinds" in told} == {"l81", "l83"}


@pytest.mark.proves(
    "gateway_api.SecretObjectReference.group",
    "gateway_api.SecretObjectReference.kind",
    "gateway_api.SecretObjectReference.namespace",
    "gateway_api.ListenerTLSConfig.options",
)
async def test_a_listener_shows_the_certificate_that_it_names() -> None:
    tls = {
        "own": ({"certificateRefs": [{"group": "", "kind": "Secret", "name": "cert"}]}, "ResolvedRefs"),
        "granted": ({"certificateRefs": [{"name": "cert", "namespace": "granted"}]}, "ResolvedRefs"),
        "closed": ({"certificateRefs": [{"name": "cert", "namespace": "closed"}]}, "RefNotPermitted"),
        "kind": ({"certificateRefs": [{"kind": "ConfigMap", "name": "cert"}]}, "InvalidCertificateRef"),
        "group": ({"certificateRefs": [{"group": "a.b", "name": "cert"}]}, "InvalidCertificateRef"),
        "option": (
            {"certificateRefs": [{"name": "cert"}], "options": {"example.com/mode": "x"}},
            "ResolvedRefs",
        ),
    }
    numbers = dict(zip(tls, range(443, 443 + len(tls)), strict=True))
    listeners = [
        {"name": name, "port": numbers[name], "protocol": "HTTPS", "tls": settings}
        for name, (settings, _) in tls.items()
    ]
    grant = {
        "from": [{"group": GROUP, "kind": "Gateway", "namespace": "default"}],
        "to": [{"group": "", "kind": "Secret", "name": "cert"}],
    }
    authorities = {name: WebAuthority() for name in ("default", "granted", "closed")}
    async with AsyncExitStack() as stack:
        text, _ = await backends(stack, "app")
        text += gateway(yaml.safe_dump(listeners)) + route("HTTPRoute", "app", to("app"))
        text += document("ReferenceGrant", "grant", grant, "granted")
        for namespace, authority in authorities.items():
            made = authority.issue("edge.org")
            text += secret("cert", made.certificate, made.key, namespace)
        running = await stack.enter_async_context(edge(text, *numbers.values()))
        for name, namespace in (("own", "default"), ("granted", "granted")):
            context = trusting(authorities[namespace].certificate)
            assert (await running.send_tls(numbers[name], "edge.org", context)).backend == "app"
        everybody = trusting(*(authority.certificate for authority in authorities.values()))
        for name in ("closed", "kind", "group", "option"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await running.send_tls(numbers[name], "edge.org", everybody)
        listed = statuses(running, "Gateway")["edge"]["listeners"]
        told = {
            item["name"]: {told["type"]: told["reason"] for told in item["conditions"]} for item in listed
        }
        assert {name: found["ResolvedRefs"] for name, found in told.items()} == {
            name: reason for name, (_, reason) in tls.items()
        }
        assert told["option"]["Accepted"] == "UnsupportedValue"


@pytest.mark.proves(
    "gateway_api.GRPCRouteSpec.useDefaultGateways",
    "gateway_api.TCPRouteSpec.useDefaultGateways",
    "gateway_api.TLSRouteSpec.useDefaultGateways",
    "gateway_api.UDPRouteSpec.useDefaultGateways",
)
async def test_routes_of_every_kind_may_be_for_the_default_gateways(tmp_path: Path) -> None:
    def listeners(offset: int) -> str:
        return f"""
- {{name: http, port: {80 + offset}, protocol: HTTP}}
- {{name: tcp, port: {9000 + offset}, protocol: TCP}}
- {{name: tls, port: {443 + offset}, protocol: TLS, tls: {{mode: Passthrough}}}}
- {{name: udp, port: {53 + offset}, protocol: UDP}}
"""

    authority = WebAuthority()
    async with AsyncExitStack() as stack:
        text = gateway(listeners(0), "default-one", defaultScope="All") + gateway(listeners(1), "other")
        text += service("grpc", await stack.enter_async_context(grpc_backend("grpc")), protocol="grpc")
        text += service("tcp", await stack.enter_async_context(tcp_server(naming("tcp"))), protocol="tcp")
        server = await stack.enter_async_context(https_server(tmp_path, authority.issue("a.org")))
        text += service("tls", server.port, protocol="tls")
        text += datagrams("udp", await stack.enter_async_context(udp_server("udp")))
        for kind in ("GRPC", "TCP", "TLS", "UDP"):
            spec = {
                "useDefaultGateways": "All",
                "rules": [{"backendRefs": [{"name": kind.lower(), "port": 80}]}],
                **({"hostnames": ["a.org"]} if kind == "TLS" else {}),
            }
            text += document(f"{kind}Route", "it", spec)
        numbers = (80, 9000, 443, 53)
        running = await stack.enter_async_context(edge(text, *numbers, *(number + 1 for number in numbers)))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.listen(80)}") as channel:
            assert await channel.unary_unary("/demo.Greeter/Hello")(b"", timeout=10) == b"grpc"
        assert await said(running, 9000) == "tcp"
        context = trusting(authority.certificate)
        assert (await running.send_tls(443, "a.org", context)).status == 200
        assert await ask(running.listen(53)) == "udp:hello"
        assert (await running.send(81, "a.org")).status == 404
        assert await said(running, 9001) == ""
        assert await said(running, 444, context, "a.org") == ""
        assert await ask(running.listen(54), patience=SILENCE_SECONDS) == ""
