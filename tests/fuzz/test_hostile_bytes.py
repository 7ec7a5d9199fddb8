"""Every parser of bytes from outside against everything that was once a finding, and against mutations."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targets import Target, targets

REGRESSIONS = Path(__file__).parent / "regressions"
TARGETS = targets()
_CHUNKS = (
    b"\x00",
    b"\xff" * 4,
    b"\xc0\x80",
    b"{" * 300,
    b"[" * 300,
    b"&a [*a]",
    b"1e999",
    b"-1",
    b'"\\ud800"',
    b"\n---\n",
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_a_finding_is_answered(name: str) -> None:
    for file in sorted((REGRESSIONS / name).glob("*")):
        attempt(TARGETS[name], file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_good_input_is_taken(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(noise=st.binary(max_size=64), seed=st.integers(0, 2**32))
def test_hostile_bytes_are_answered(name: str, noise: bytes, seed: int) -> None:
    chance = random.Random(seed)
    attempt(TARGETS[name], mutated(chance, chance.choice(TARGETS[name].seeds), noise))


def attempt(target: Target, data: bytes) -> None:
    with contextlib.suppress(*target.expected):
        target.run(data)


def mutated(chance: random.Random, good: bytes, noise: bytes) -> bytes:
    """Good bytes, of which some are lost, doubled, or replaced."""
    made = bytearray(good)
    for _ in range(chance.randint(0, 6)):
        start = chance.randint(0, len(made))
        end = min(len(made), start + chance.choice((0, 1, 1, 2, 8, 64)))
        part = chance.choice((noise, chance.choice(_CHUNKS), bytes(made[start:end]) * 2, b""))
        made[start:end] = part
        if made and chance.random() < 0.5:
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)
