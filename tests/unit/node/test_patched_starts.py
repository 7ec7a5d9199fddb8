"""A bootstrap is used with the patches with which Envoy starts, and without the others."""

from collections.abc import Awaitable, Callable

from marline.api.resource import Ref
from marline.mesh.model import PatchId
from marline.mesh.patches import Patch
from marline.node.patched_start import PatchedStarts, fault_of


def patch(name: str, index: int = 0, value: bytes = b"") -> Patch:
    source = Ref("networking.istio.io", "EnvoyFilter", "default", name)
    return Patch(PatchId(source, index), "BOOTSTRAP", "MERGE", value)


A, A2, B, C = patch("a"), patch("a", 1), patch("b"), patch("c")


def refusing(*bad: Patch) -> Callable[[tuple[Patch, ...]], Awaitable[str]]:
    async def refusal(patches: tuple[Patch, ...]) -> str:
        return " and ".join(str(item.id.source.name) for item in patches if item in bad)

    return refusal


async def test_all_are_used_if_envoy_takes_them() -> None:
    kept, told = await PatchedStarts().choose((A, B), refusing(), failed=False)
    assert kept == (A, B)
    assert told.applied == (A.id, B.id)
    assert (told.refused, told.message) == ((), "")


async def test_a_resource_with_which_envoy_would_not_start_is_left_out_as_a_whole() -> None:
    kept, told = await PatchedStarts().choose((A, A2, B, C), refusing(A2, C), failed=False)
    assert kept == (B,)
    assert told.applied == (B.id,)
    assert told.refused == (A.id, A2.id, C.id)
    assert told.message == "a"


async def test_an_early_end_is_followed_by_a_start_without_until_the_patch_is_another() -> None:
    starts = PatchedStarts()
    await starts.choose((A,), refusing(), failed=False)
    kept, told = await starts.choose((A,), refusing(), failed=True)
    assert kept == ()
    assert told.refused == (A.id,)
    assert "ended before it was ready" in told.message
    assert (await starts.choose((A,), refusing(), failed=True))[0] == ()
    mended = patch("a", value=b"mended")
    assert (await starts.choose((mended,), refusing(), failed=True))[0] == (mended,)


async def test_an_end_after_it_has_served_or_by_somebodys_will_is_no_patchs_fault() -> None:
    starts = PatchedStarts()
    await starts.choose((A,), refusing(), failed=False)
    assert (await starts.choose((A,), refusing(), failed=False))[0] == (A,)
    starts.lived()
    assert (await starts.choose((A,), refusing(), failed=True))[0] == (A,)


def test_what_envoy_says_is_told_without_its_log() -> None:
    line = "[2026-01-01 00:00][1][critical][main] [x.cc:76] error initializing configuration 'p.json': "
    assert fault_of(f"{line}no filter chains: specified\nmore") == "no filter chains: specified"
    assert fault_of("cannot start\n") == "cannot start"
    assert fault_of("") == "Envoy does not take it"
