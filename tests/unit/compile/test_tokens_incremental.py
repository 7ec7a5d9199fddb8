"""Changes of RequestAuthentications, of the Gateways that they are attached to, and of key sets touch all
that they concern, and nothing else."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_incremental import POOL, PROXIES, contents, whole

from marline.api.resource import Ref, Resource
from marline.compile.catalog import affected, compile_unit, units
from marline.compile.resource import LISTENER
from marline.compile.units import GatewayUnit, InboundUnit
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from marline.mesh.token_keys import FetchedKeys, KeySource, key_sources

KIND = "RequestAuthentication"
CONCERNED = [
    item
    for item in POOL
    if item.kind == KIND or (item.kind, item.name) in (("Gateway", "edge"), ("Gateway", "ingress"))
]
POLICIES: list[Any] = [item for item in POOL if item.kind == KIND]
SOURCES = sorted({source for item in POLICIES for source in key_sources(item)})
puts = st.tuples(st.integers(0, len(CONCERNED) - 1), st.booleans())
keys = st.builds(FetchedKeys, st.sampled_from(SOURCES), st.sampled_from(('{"keys":[1]}', '{"keys":[2]}')))


@settings(max_examples=150, deadline=None)
@given(st.lists(puts | keys, max_size=16))
def test_following_policies_and_keys_gives_what_starting_anew_gives(changes: list[Any]) -> None:
    state: dict[Ref, Resource[Any]] = {}
    fetched: dict[KeySource, FetchedKeys] = {}
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((), (), "0"))
    views = {
        proxy.node_id: {unit: compile_unit(snapshot, proxy, unit) for unit in units(snapshot, proxy)}
        for proxy in PROXIES
    }
    for number, change in enumerate(changes, start=1):
        if isinstance(change, FetchedKeys):
            fetched[change.source] = change
            step = ChangeSet((), (), str(number), (change,))
        else:
            item = CONCERNED[change[0]]
            gone = change[1] and state.pop(item.ref, None) is not None
            if not gone:
                state[item.ref] = item
            step = ChangeSet((), (item.ref,), str(number)) if gone else _put(item, number, fetched)
        snapshot, impact = advance(snapshot, step)
        for proxy in PROXIES:
            for unit in affected(snapshot, proxy, impact):
                views[proxy.node_id][unit] = compile_unit(snapshot, proxy, unit)
    anew, _ = advance(
        empty(MeshSettings()), ChangeSet(tuple(state.values()), (), "1", tuple(fetched.values()))
    )
    for proxy in PROXIES:
        assert contents(proxy, views[proxy.node_id]) == whole(anew, proxy)
    for table in ("policies", "wanting", "keys"):
        assert getattr(snapshot.rules.tokens, table) == getattr(anew.rules.tokens, table), table


def _put(item: Resource[Any], number: int, fetched: dict[KeySource, FetchedKeys]) -> ChangeSet:
    """With the key sets that are there already, as a control plane has them."""
    found = key_sources(item) if item.kind == KIND else ()
    known = tuple(fetched[source] for source in dict.fromkeys(found) if source in fetched)
    return ChangeSet((item,), (), str(number), known)


def test_new_keys_touch_the_listeners_of_those_who_verify_with_them() -> None:
    own, _, _, edge = POLICIES
    gateways = [item for item in CONCERNED if item.kind == "Gateway"]
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((own, edge, *gateways), (), "1"))
    (source,) = key_sources(edge)
    first = FetchedKeys(source, '{"keys":[1]}')
    touched = _touched(snapshot, first)
    assert touched == {"gateway": [GatewayUnit()]}
    of_workloads = _touched(snapshot, FetchedKeys(next(iter(key_sources(own))), '{"keys":[1]}'))
    assert of_workloads == {name: [InboundUnit(0)] for name in ("transparent", "explicit")}
    snapshot, _ = advance(snapshot, ChangeSet((), (), "1", (first,)))
    assert _touched(snapshot, first) == {}
    assert _touched(snapshot, FetchedKeys(KeySource("https://nobody.example.com"), "x")) == {}


def _touched(snapshot: MeshSnapshot, fetched: FetchedKeys) -> dict[str, list[Any]]:
    after, impact = advance(snapshot, ChangeSet((), (), "1", (fetched,)))
    found = {}
    for proxy in PROXIES:
        touched = list(affected(after, proxy, impact))
        recipes = [recipe for unit in touched for recipe in compile_unit(after, proxy, unit)]
        if touched:
            found[proxy.node_id] = touched
            assert any(recipe.type_url == LISTENER for recipe in recipes)
    return found
