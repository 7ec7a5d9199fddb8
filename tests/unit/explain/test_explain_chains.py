"""Which filter chain takes a connection: criterion after criterion, with no way back."""

from typing import Any

import pytest
from envoy.config.listener.v3 import listener_pb2

from marline.explain.connections import Connection, chain_for
from marline.explain.request import CannotTell


def listener(*names: str, inspects: tuple[str, ...] = ("tls_inspector", "http_inspector")) -> Any:
    made = listener_pb2.Listener(name="it")
    for kind in inspects:
        made.listener_filters.add(name=f"envoy.filters.listener.{kind}")
    for name in names:
        made.filter_chains.add(name=name)
    return made


def taken(made: Any, connection: Connection) -> str:
    chain = chain_for(made, connection)
    return chain.name if chain is not None else ""


def test_a_port_is_looked_at_before_everything_else() -> None:
    made = listener("any-tls", "port")
    made.filter_chains[0].filter_chain_match.transport_protocol = "tls"
    made.filter_chains[1].filter_chain_match.destination_port.value = 80
    assert taken(made, Connection("1.2.3.4", 80, tls=True)) == "port"
    assert taken(made, Connection("1.2.3.4", 81, tls=True)) == "any-tls"
    assert taken(made, Connection("1.2.3.4", 81)) == ""


def test_there_is_no_way_back_to_a_chain_that_was_less_specific() -> None:
    made = listener("for-port", "for-any-port")
    made.filter_chains[0].filter_chain_match.destination_port.value = 80
    made.filter_chains[0].filter_chain_match.transport_protocol = "tls"
    assert taken(made, Connection("1.2.3.4", 80)) == ""
    made.default_filter_chain.name = "default"
    assert taken(made, Connection("1.2.3.4", 80)) == "default"


def test_names_are_exact_or_the_longest_suffix() -> None:
    made = listener("exact", "long", "short", "any")
    for chain, name in zip(made.filter_chains, ("a.b.c", "*.b.c", "*.c"), strict=False):
        chain.filter_chain_match.server_names.append(name)
    names = ("a.b.c", "x.b.c", "x.y.c", "x.y.z", "")
    chosen = [taken(made, Connection("1.2.3.4", 443, True, name)) for name in names]
    assert chosen == ["exact", "long", "short", "any", "any"]


def test_what_nobody_looks_at_is_not_known() -> None:
    made = listener("tls", "any", inspects=())
    made.filter_chains[0].filter_chain_match.transport_protocol = "tls"
    assert taken(made, Connection("1.2.3.4", 443, tls=True)) == "any"


def test_the_narrowest_network_counts() -> None:
    made = listener("wide", "narrow")
    for chain, length in zip(made.filter_chains, (8, 16), strict=True):
        chain.filter_chain_match.prefix_ranges.add(address_prefix="10.0.0.0").prefix_len.value = length
    assert taken(made, Connection("10.0.9.9", 80)) == "narrow"
    assert taken(made, Connection("10.9.9.9", 80)) == "wide"
    assert taken(made, Connection("11.0.0.1", 80)) == ""
    with pytest.raises(CannotTell):
        chain_for(made, Connection("", 80))


def test_the_protocol_that_was_detected_counts() -> None:
    made = listener("http", "bytes")
    made.filter_chains[0].filter_chain_match.application_protocols.extend(["http/1.1", "h2c"])
    assert taken(made, Connection("1.2.3.4", 80, protocols=("http/1.1",))) == "http"
    assert taken(made, Connection("1.2.3.4", 80)) == "bytes"


def test_a_criterion_that_is_not_understood_is_not_guessed() -> None:
    made = listener("it")
    made.filter_chains[0].filter_chain_match.source_ports.append(1)
    with pytest.raises(CannotTell, match="source_ports"):
        chain_for(made, Connection("1.2.3.4", 80))
