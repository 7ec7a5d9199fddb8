"""Changes of policies and of what they are attached to touch all that they concern: a view kept up to date is
the view that compiling all of it gives."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_core_incremental import POOL, PROXIES, contents, whole

from marline.api.policy.targets import GROUP
from marline.api.resource import Ref, Resource
from marline.compile.catalog import affected, compile_unit, units
from marline.compile.policy_status import policy_status
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.snapshot import MeshSnapshot, advance, empty

CONCERNED = [
    item
    for item in POOL
    if item.group == GROUP
    or item.kind == "Service"
    or item.name == "external"
    or (item.kind, item.name) in (("VirtualService", "wide"), ("Gateway", "ingress"))
]
steps = st.lists(st.tuples(st.integers(0, len(CONCERNED) - 1), st.booleans()), min_size=4, max_size=24)


def first(kind: str, name: str) -> tuple[int, bool]:
    """The step that puts the first version of a resource."""
    return next(
        index for index, item in enumerate(CONCERNED) if (item.kind, item.name) == (kind, name)
    ), False


AT_A_GATEWAY = [
    first("Gateway", "ingress"),
    first("VirtualService", "wide"),
    first("RateLimitPolicy", "edge"),
    first("RateLimitPolicy", "wide"),
]


def verdicts(snapshot: MeshSnapshot, ref: Ref) -> Any:
    policy = snapshot.resource(ref)
    return None if policy is None else policy_status(snapshot, policy, "now")


@settings(max_examples=200, deadline=None)
@given(steps)
@example(AT_A_GATEWAY)
@example([*AT_A_GATEWAY[2:], *AT_A_GATEWAY[:2]])
@example([*AT_A_GATEWAY, (AT_A_GATEWAY[3][0], True)])
def test_following_policies_gives_what_starting_anew_gives(changes: list[tuple[int, bool]]) -> None:
    state: dict[Ref, Resource[Any]] = {}
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((), (), "0"))
    views = {
        proxy.node_id: {unit: compile_unit(snapshot, proxy, unit) for unit in units(snapshot, proxy)}
        for proxy in PROXIES
    }
    told: dict[Ref, Any] = {}
    for number, (index, remove) in enumerate(changes, start=1):
        item = CONCERNED[index]
        gone = remove and item.ref in state
        if gone:
            del state[item.ref]
        else:
            state[item.ref] = item
        change = ChangeSet((), (item.ref,), str(number)) if gone else ChangeSet((item,), (), str(number))
        snapshot, impact = advance(snapshot, change)
        for proxy in PROXIES:
            for unit in affected(snapshot, proxy, impact):
                views[proxy.node_id][unit] = compile_unit(snapshot, proxy, unit)
        told.update((ref, verdicts(snapshot, ref)) for ref in impact.policies)
    anew, _ = advance(empty(MeshSettings()), ChangeSet(tuple(state.values()), (), "1"))
    for proxy in PROXIES:
        assert contents(proxy, views[proxy.node_id]) == whole(anew, proxy)
    for ref in state:
        if ref.group == GROUP and ref.kind != "RevokedIdentity":  # which has no status
            assert told[ref] == verdicts(anew, ref)
