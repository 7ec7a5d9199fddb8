"""What a VirtualService must fulfil, and the conditions of its rules: Istio's rules (istio.io, "Virtual
Service" reference; its validation), and what Envoy would refuse. `virtual_service_actions` has the rest."""

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.networking.virtual_service import (
    HTTPMatchRequest,
    HTTPRoute,
    L4MatchAttributes,
    StringMatch,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualServiceSpec,
)
from marline.api.networking.virtual_service_actions import check_action, check_weights, string_match
from marline.api.resource import Resource
from marline.api.security.claims import ROUTING_PREFIX, routing_claim

MESH = "mesh"
"""In the place of a gateway: all sidecars."""


def validate(resource: Resource[VirtualServiceSpec], faults: Faults) -> None:
    """Istio's rules for a VirtualService, and what Envoy would refuse."""
    spec = resource.spec
    if not spec.hosts:
        _delegate(spec, faults)
    for index, name in enumerate(spec.hosts):
        rules.host(name, faults.at("hosts").item(index))
    rules.named_once(list(spec.hosts), faults.at("hosts"), "host")
    if "*" in spec.hosts and set(spec.gateways or (MESH,)) == {MESH}:
        faults.at("hosts").add("'*' is allowed only for a VirtualService that is bound to a gateway")
    for index, gateway in enumerate(spec.gateways):
        _gateway_name(gateway, faults.at("gateways").item(index))
    if not (spec.http or spec.tls or spec.tcp):
        faults.add("has no rule: expected http, tls or tcp")
    for number, rule in enumerate(spec.http):
        _http_route(rule, faults.at("http").item(number))
    _claims(spec, faults)
    for number, tls in enumerate(spec.tls):
        _tls_route(tls, spec.hosts, faults.at("tls").item(number))
    for number, tcp in enumerate(spec.tcp):
        _tcp_route(tcp, faults.at("tcp").item(number))
    rules.export_to(spec.export_to, faults.at("exportTo"))


def _delegate(spec: VirtualServiceSpec, faults: Faults) -> None:
    """A VirtualService without hosts, which others delegate to (istio.io, `Delegate`)."""
    why = (
        "has no meaning without hosts: others delegate to this VirtualService, and only its http rules count"
    )
    for name in ("gateways", "tls", "tcp"):
        faults.at(name).require(not getattr(spec, name), why)
    for index, rule in enumerate(spec.http):
        if rule.delegate is not None:
            where = faults.at("http").item(index).at("delegate")
            where.add("a VirtualService without hosts cannot delegate further; delegation has one level")


def _gateway_name(name: str, faults: Faults) -> None:
    if name == MESH:
        return
    parts = name.split("/")
    if len(parts) > 2:
        faults.add(f"{name!r} is not a gateway: expected NAME or NAMESPACE/NAME")
    for part in parts:
        if part != ".":
            rules.dns_subdomain(part, faults)


def _http_route(rule: HTTPRoute, faults: Faults) -> None:
    for index, match in enumerate(rule.match):
        _http_match(match, faults.at("match").item(index))
    check_action(rule, faults)


def _http_match(match: HTTPMatchRequest, faults: Faults) -> None:
    for name in ("uri", "scheme", "method", "authority"):
        condition = getattr(match, name)
        if condition is not None:
            string_match(condition, faults.at(name))
    if match.uri and match.uri.prefix is not None and not match.uri.prefix.startswith("/"):
        faults.at("uri").at("prefix").add(f"{match.uri.prefix!r} must start with '/'")
    if match.ignore_uri_case and match.uri and match.uri.regex is not None:
        faults.at("ignoreUriCase").add("has no effect on a regex; write (?i) into the regex instead")
    for field, conditions in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for name, condition in conditions.items():
            where = faults.at(field).key(name)
            _header_or_claim(name, where)
            if condition != StringMatch():
                string_match(condition, where)
    for name, condition in match.query_params.items():
        faults.at("queryParams").require(name, "a query parameter's name is empty")
        if condition != StringMatch():
            string_match(condition, faults.at("queryParams").key(name))
    _source(match, faults)


def _header_or_claim(name: str, faults: Faults) -> None:
    """Istio, "JWT claim based routing": a claim of a verified token is asked for like a header."""
    if not name.startswith("@"):
        rules.header_name(name, faults)
    elif routing_claim(name) is None:
        faults.add(
            f"{name!r} is neither a header's name nor a claim of a token; expected {ROUTING_PREFIX}.NAME or "
            f"{ROUTING_PREFIX}[NAME]",
            suggestion=nearest(name, (ROUTING_PREFIX,)),
        )


def _claims(spec: VirtualServiceSpec, faults: Faults) -> None:
    """Only gateways route by claims, as in Istio: a sidecar does not verify what its application sends."""
    if not spec.hosts or set(spec.gateways) - {MESH}:
        return
    for number, rule in enumerate(spec.http):
        for index, match in enumerate(rule.match):
            where = faults.at("http").item(number).at("match").item(index)
            for field, names in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                for name in names:
                    if routing_claim(name) is not None:
                        where.at(field).key(name).add(
                            "claims are known only at gateways; expected a gateway in the gateways of this "
                            "VirtualService"
                        )


def _tls_route(rule: TLSRoute, hosts: tuple[str, ...], faults: Faults) -> None:
    if faults.required(rule.match, "match"):
        for index, match in enumerate(rule.match):
            where = faults.at("match").item(index)
            faults_at = where.at("sniHosts")
            if not match.sni_hosts:
                faults_at.add("is required", Fault.REQUIRED)
            for number, sni in enumerate(match.sni_hosts):
                rules.host(sni, faults_at.item(number))
                if not any(host_covers(host, sni) for host in hosts):
                    faults_at.item(number).add(f"{sni!r} is not covered by the hosts of this VirtualService")
            _l4_match(match, where)
    if faults.required(rule.route, "route"):
        check_weights([(item.destination, item.weight) for item in rule.route], faults.at("route"))


def _tcp_route(rule: TCPRoute, faults: Faults) -> None:
    for index, match in enumerate(rule.match):
        where = faults.at("match").item(index)
        _l4_match(match, where)
        if match.source_subnet:
            rules.cidr(match.source_subnet, where.at("sourceSubnet"))
    if faults.required(rule.route, "route"):
        check_weights([(item.destination, item.weight) for item in rule.route], faults.at("route"))


def _l4_match(match: L4MatchAttributes | TLSMatchAttributes, faults: Faults) -> None:
    for index, subnet in enumerate(match.destination_subnets):
        rules.cidr(subnet, faults.at("destinationSubnets").item(index))
    _source(match, faults)


def _source(match: HTTPMatchRequest | L4MatchAttributes | TLSMatchAttributes, faults: Faults) -> None:
    """Conditions on who asks, and where."""
    rules.labels(match.source_labels, faults.at("sourceLabels"))
    for index, gateway in enumerate(match.gateways):
        _gateway_name(gateway, faults.at("gateways").item(index))
    if match.source_namespace:
        rules.dns_label(match.source_namespace, faults.at("sourceNamespace"))


def host_covers(pattern: str, name: str) -> bool:
    """Whether a host, maybe a wildcard, stands for another: `*.example.com` for `a.example.com`."""
    if pattern in ("*", name):
        return True
    return pattern.startswith("*.") and name.removeprefix("*").endswith(pattern[1:])
