"""Patches of route configurations, their virtual hosts and routes.

Virtual hosts are mostly resources of their own, `<table>/<host>:<port>`; Istio's name is the part behind
the slash. What is added to a table stands in the table itself.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb
from envoy.config.route.v3 import route_pb2

from marline.compile.patch_lists import change_list
from marline.compile.patch_match import Site, host_matches, route_match, route_matches, table_matches
from marline.compile.patch_merge import MERGES, merge
from marline.mesh.model import PatchId
from marline.mesh.patches import Patch


def patch_table(table: Any, patches: Iterable[Patch], site: Site) -> Iterator[PatchId]:
    """Apply patches to a route configuration and the virtual hosts in it. Yields which applied."""
    name, patches = table.name, [item for item in patches if site.has(item)]
    for patch in patches:
        if patch.apply_to == "ROUTE_CONFIGURATION" and table_matches(patch, name, "", site):
            merge(table, route_pb2.RouteConfiguration.FromString(patch.value), patch.operation)
            table.name = name
            yield patch.id
    for host in table.virtual_hosts:
        yield from _virtual_host(host, name, host.name, patches, site)
    for index in reversed(range(len(table.virtual_hosts))):
        if not table.virtual_hosts[index].name:
            del table.virtual_hosts[index]
    for patch in patches:
        is_added = (patch.apply_to, patch.operation) == ("VIRTUAL_HOST", "ADD")
        if is_added and table_matches(patch, name, "", site):
            table.virtual_hosts.append(route_pb.VirtualHost.FromString(patch.value))
            yield patch.id


def patch_discovered_host(host: Any, patches: Iterable[Patch], site: Site) -> Iterator[PatchId]:
    """Apply patches to a virtual host that is a resource of its own; one without a name afterwards is to be
    removed."""
    table, _, name = host.name.rpartition("/")
    yield from _virtual_host(host, table, name, [item for item in patches if site.has(item)], site)


def _virtual_host(host: Any, table: str, name: str, patches: list[Patch], site: Site) -> Iterator[PatchId]:
    own_name = host.name
    mine = [item for item in patches if table_matches(item, table, name, site)]
    for patch in mine:
        if patch.apply_to != "VIRTUAL_HOST" or patch.operation == "ADD":
            continue
        if not host_matches(patch, table, name, host.domains, site):
            continue
        yield patch.id
        if patch.operation == "REMOVE":
            host.Clear()
            return
        value = route_pb.VirtualHost.FromString(patch.value)
        if patch.operation == "REPLACE":
            host.CopyFrom(value)
        else:
            merge(host, value, patch.operation)
        host.name = own_name
    for patch in mine:
        is_for_routes = patch.apply_to == "HTTP_ROUTE"
        if is_for_routes and host_matches(patch, table, name, host.domains, site) and _routes(host, patch):
            yield patch.id


def _routes(host: Any, patch: Patch) -> bool:
    match = route_match(patch)
    matches = (lambda item: route_matches(match, item)) if match is not None else None
    value = route_pb.Route.FromString(patch.value)
    if patch.operation in MERGES:
        found = [item for item in host.routes if matches is None or matches(item)]
        for item in found:
            merge(item, value, patch.operation)
        return bool(found)
    if patch.operation == "INSERT_FIRST" and matches is not None:
        # To the front, but only where there is what it names.
        return any(map(matches, host.routes)) and change_list(host.routes, patch.operation, value, None)
    return change_list(host.routes, patch.operation, value, matches)
