"""What an EnvoyFilter must be like: each operation where it means something, each match where it counts.

Istio takes and ignores much of what is refused here (istio.io, "Envoy Filter" reference, and what its
control plane does with each operation): a patch that cannot have an effect is told so.
"""

from typing import Any, Final

from marline.api import rules
from marline.api.envoy_messages import TYPES, read
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.networking.envoy_filter import (
    EnvoyConfigObjectMatch,
    EnvoyConfigObjectPatch,
    EnvoyFilterSpec,
    FilterMatch,
    ListenerMatch,
    RouteConfigurationMatch,
)

HCM_NAMES: Final = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
"""The connection manager, and how it was called before Envoy 1.14."""
_MERGES: Final = ("MERGE", "MERGE_AND_REPLACE_LIST")
_INSERTS: Final = ("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST")
_FILTER_OPERATIONS: Final = ("MERGE", "ADD", "REMOVE", "REPLACE", *_INSERTS)
OPERATIONS: Final = {
    "LISTENER": (*_MERGES, "ADD", "REMOVE"),
    "FILTER_CHAIN": (*_MERGES, "ADD", "REMOVE"),
    "NETWORK_FILTER": _FILTER_OPERATIONS,
    "HTTP_FILTER": _FILTER_OPERATIONS,
    "LISTENER_FILTER": _FILTER_OPERATIONS,
    "ROUTE_CONFIGURATION": _MERGES,
    "VIRTUAL_HOST": (*_MERGES, "ADD", "REMOVE", "REPLACE"),
    "HTTP_ROUTE": (*_MERGES, "ADD", "REMOVE", *_INSERTS),
    "CLUSTER": (*_MERGES, "ADD", "REMOVE"),
    "EXTENSION_CONFIG": ("ADD",),
    "BOOTSTRAP": ("MERGE",),
}
_MATCHES: Final = {
    "LISTENER": "listener",
    "FILTER_CHAIN": "listener",
    "NETWORK_FILTER": "listener",
    "HTTP_FILTER": "listener",
    "LISTENER_FILTER": "listener",
    "ROUTE_CONFIGURATION": "routeConfiguration",
    "VIRTUAL_HOST": "routeConfiguration",
    "HTTP_ROUTE": "routeConfiguration",
    "CLUSTER": "cluster",
}
_NAMED: Final = ("LISTENER", "CLUSTER", "ROUTE_CONFIGURATION", "VIRTUAL_HOST")
"""What others refer to by name."""
_OWN_CLUSTERS: Final = (
    "PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster", "xds-grpc", "sds-grpc",
    "ratelimit-grpc",
)  # fmt: skip
_DESCRIPTION: Final = "MARLINE"
"""The node metadata in which a proxy describes itself (`mesh/proxy`)."""
_ADDED_BY_NAME: Final = ("LISTENER", "CLUSTER", "EXTENSION_CONFIG")


def check(spec: EnvoyFilterSpec, faults: Faults) -> None:
    faults.required(spec.config_patches, "configPatches")
    if spec.workload_selector is not None:
        rules.labels(spec.workload_selector.labels, faults.at("workloadSelector").at("labels"))
        if spec.target_refs:
            faults.at("targetRefs").add("cannot be combined with workloadSelector")
    rules.gateway_targets(spec.target_refs, faults.at("targetRefs"))
    for index, item in enumerate(spec.config_patches):
        _patch(item, faults.at("configPatches").item(index))


def _patch(item: EnvoyConfigObjectPatch, faults: Faults) -> None:
    patch, where = item.patch, faults.at("patch")
    allowed = OPERATIONS[item.apply_to]
    if patch.operation not in allowed:
        where.at("operation").add(
            f"{patch.operation} does nothing to a {item.apply_to}; expected {' or '.join(allowed)}"
        )
    if patch.filter_class != "UNSPECIFIED" and (item.apply_to, patch.operation) != ("HTTP_FILTER", "ADD"):
        where.at("filterClass").add("says where an HTTP_FILTER is put by ADD, and has no effect elsewhere")
    if patch.operation == "REMOVE":
        where.at("value").require(not patch.value, "has no effect with REMOVE")
    elif where.required(patch.value, "value"):
        made = read(patch.value, TYPES[item.apply_to], where.at("value"))
        _name(item, where.at("value"))
        if item.apply_to == "BOOTSTRAP" and made is not None:
            _bootstrap(made, where.at("value"))
    _match(item, faults.at("match"))


def _name(item: EnvoyConfigObjectPatch, faults: Faults) -> None:
    operation, name = item.patch.operation, str(item.patch.value.get("name", ""))
    if operation in _MERGES and item.apply_to in _NAMED and name and name != _matched_name(item.match):
        faults.at("name").add("cannot be changed by a merge, since others refer to it")
    if operation == "ADD" and item.apply_to in _ADDED_BY_NAME:
        faults.required(name, "name")
        if item.apply_to == "CLUSTER" and _is_own_cluster(name):
            faults.at("name").add(f"{name!r} is the name of a cluster that there is; change it by MERGE")
        if item.apply_to == "LISTENER" and _is_own_listener(name):
            faults.at("name").add(f"{name!r} is the name of a listener that there is; change it by MERGE")


def _bootstrap(made: Any, faults: Faults) -> None:
    """Refuse what would part a proxy from the mesh. What Envoy itself would not start with, is found out
    when it is to start."""
    owned = {
        ("dynamic_resources",): made.HasField("dynamic_resources"),
        ("admin", "address"): made.admin.HasField("address"),
        ("node", "id"): made.node.id,
        ("node", "cluster"): made.node.cluster,
        ("node", "metadata", _DESCRIPTION): _DESCRIPTION in made.node.metadata.fields,
    }
    for path, given in owned.items():
        if given:
            where = faults
            for name in path:
                where = where.at(name)
            where.add("cannot be changed: it is how a proxy and its control plane find each other")
    for index, cluster in enumerate(made.static_resources.clusters):
        if _is_own_cluster(cluster.name):
            where = faults.at("static_resources").at("clusters").item(index).at("name")
            where.add(f"{cluster.name!r} is the name of a cluster that there is; choose another")


def _matched_name(match: EnvoyConfigObjectMatch) -> str:
    found = match.listener or match.cluster
    if found is not None:
        return found.name
    table = match.route_configuration
    if table is None:
        return ""
    return table.vhost.name if table.vhost is not None else table.name


def _is_own_cluster(name: str) -> bool:
    return name in _OWN_CLUSTERS or name.startswith(("outbound|", "inbound|"))


def _is_own_listener(name: str) -> bool:
    """Those that are for an address are called `<address>_<port>`."""
    address, _, port = name.rpartition("_")
    return (
        name in ("virtualOutbound", "virtualInbound", "http_proxy")
        or name.startswith(("virtualInbound|", "explicit_", "inbound_"))
        or (port.isdigit() and rules.is_ip(address))
    )


def _match(item: EnvoyConfigObjectPatch, faults: Faults) -> None:
    match, expected = item.match, _MATCHES.get(item.apply_to, "")
    given = {
        "listener": match.listener,
        "routeConfiguration": match.route_configuration,
        "cluster": match.cluster,
    }
    for name, value in given.items():
        if value is not None and name != expected:
            hint = f"expected {expected}" if expected else "expected none"
            faults.at(name).add(f"is no condition on a {item.apply_to}; {hint}")
    if match.proxy is not None and match.proxy.proxy_version:
        rules.regex(match.proxy.proxy_version, faults.at("proxy").at("proxyVersion"))
    if match.listener is not None and expected == "listener":
        _listener_match(item, match.listener, faults.at("listener"))
    elif expected == "listener":
        _needs_filter(item, None, faults.at("listener"))
    if match.route_configuration is not None and expected == "routeConfiguration":
        _route_match(item, match.route_configuration, faults.at("routeConfiguration"))


def _listener_match(item: EnvoyConfigObjectPatch, match: ListenerMatch, faults: Faults) -> None:
    chain = match.filter_chain
    if match.listener_filter and item.apply_to != "LISTENER_FILTER":
        faults.at("listenerFilter").add(f"is no condition on a {item.apply_to}")
    if chain is not None and item.apply_to in ("LISTENER", "LISTENER_FILTER"):
        faults.at("filterChain").add(f"is no condition on a {item.apply_to}, which is for all filter chains")
    elif chain is not None and chain.filter is not None:
        where = faults.at("filterChain").at("filter")
        if item.apply_to == "FILTER_CHAIN":
            where.add("is no condition on a FILTER_CHAIN")
        _filter_match(item, chain.filter, where)
    _needs_filter(item, match, faults)


def _filter_match(item: EnvoyConfigObjectPatch, match: FilterMatch, faults: Faults) -> None:
    faults.required(match.name, "name")
    if match.sub_filter is None:
        return
    where = faults.at("subFilter")
    where.required(match.sub_filter.name, "name")
    if item.apply_to != "HTTP_FILTER":
        where.add("is a condition on an HTTP_FILTER only")
    elif match.name not in HCM_NAMES:
        faults.at("name").add(f"only {HCM_NAMES[0]} has HTTP filters")


def _needs_filter(item: EnvoyConfigObjectPatch, match: ListenerMatch | None, faults: Faults) -> None:
    """What is removed, replaced or changed among filters has to be named."""
    operation = item.patch.operation
    chain = match.filter_chain if match is not None else None
    named = chain.filter if chain is not None else None
    if item.apply_to == "LISTENER_FILTER" and operation in ("REMOVE", "REPLACE", "MERGE"):
        faults.required(match.listener_filter if match is not None else "", "listenerFilter")
    elif operation not in ("REMOVE", "REPLACE"):
        return
    elif item.apply_to == "NETWORK_FILTER" and named is None:
        faults.at("filterChain").at("filter").add(f"is required with {operation}", Fault.REQUIRED)
    elif item.apply_to == "HTTP_FILTER" and (named is None or named.sub_filter is None):
        where = faults.at("filterChain").at("filter").at("subFilter")
        where.add(f"is required with {operation}", Fault.REQUIRED)


def _route_match(item: EnvoyConfigObjectPatch, match: RouteConfigurationMatch, faults: Faults) -> None:
    for name, value in (("portName", match.port_name), ("gateway", match.gateway)):
        if value and item.match.context != "GATEWAY":
            faults.at(name).add("is a condition on gateways only; set match.context to GATEWAY")
    if match.gateway and match.gateway.count("/") != 1:
        faults.at("gateway").add(f"{match.gateway!r} is not NAMESPACE/NAME")
    if match.vhost is not None:
        if item.apply_to == "ROUTE_CONFIGURATION":
            faults.at("vhost").add("is no condition on a ROUTE_CONFIGURATION")
        elif match.vhost.route is not None and item.apply_to == "VIRTUAL_HOST":
            faults.at("vhost").at("route").add("is no condition on a VIRTUAL_HOST")
