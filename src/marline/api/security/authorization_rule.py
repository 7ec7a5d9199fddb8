"""A rule of an AuthorizationPolicy: who calls, what is called, and what else must be so."""

from typing import Annotated

from msgspec import Meta

from marline.api.model import Model


class Source(Model, frozen=True):
    """Who calls; all that is given must fit. Texts are exact, or begin or end with `*`, or are `*` (there is
    one at all)."""

    principals: tuple[str, ...] = ()
    """Identities from verified certificates, as `cluster.local/ns/default/sa/productpage`."""
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    """Of verified tokens, as `<iss>/<sub>`."""
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    """Of the caller's identity, if it is one of the mesh's own trust domain."""
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    """Of such an identity: `<namespace>/<name>`, or a name in the policy's namespace."""
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    """Addresses or CIDR blocks, of the connection's other end."""
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    """Of the original client, which `X-Forwarded-For` or the PROXY protocol tells."""
    not_remote_ip_blocks: tuple[str, ...] = ()


class From(Model, frozen=True):
    source: Source | None = None


class Operation(Model, frozen=True):
    """What is called; all that is given must fit. Texts as in `Source`."""

    hosts: tuple[str, ...] = ()
    """Of requests, with the port if they name it; whether in capitals or not."""
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """Of the workload."""
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    """Of gRPC always POST."""
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Normalized, without the query. `{*}` in it stands for one segment, `{**}` at last for any number."""
    not_paths: tuple[str, ...] = ()


class To(Model, frozen=True):
    operation: Operation | None = None


class Condition(Model, frozen=True):
    """What else must be so: one of the values fits, and none of `notValues`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class Rule(Model, frozen=True):
    """Fits if one of `from` does, one of `to`, and all of `when`; what is not given fits always."""

    from_: Annotated[tuple[From, ...], Meta(min_length=1)] = ()
    to: Annotated[tuple[To, ...], Meta(min_length=1)] = ()
    when: tuple[Condition, ...] = ()
