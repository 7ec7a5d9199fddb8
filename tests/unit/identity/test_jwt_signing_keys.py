"""The life of signing keys, hour by hour."""

import stat
from pathlib import Path

import pytest
from identity_material import NOW

from marline.identity.errors import InvalidAuthority
from marline.identity.jwt_keys import (
    ANNOUNCE_SECONDS,
    KEY_SECONDS,
    MAX_TOKEN_SECONDS,
    JwtKeys,
    SigningKey,
    advanced,
    signing,
)

HOUR = 3600.0


def made(signs_from: float, signs_until: float) -> SigningKey:
    return SigningKey(f"{signs_from:g}", "", signs_from, signs_until)


def test_a_key_is_announced_before_it_signs_and_stays_until_its_tokens_are_over() -> None:
    keys: tuple[SigningKey, ...] = ()
    announced: dict[str, float] = {}
    first_use: dict[str, float] = {}
    last_use: dict[str, float] = {}
    for hour in range(24 * 5):
        now = NOW + hour * HOUR
        keys = advanced(keys, now, made)
        for key in keys:
            announced.setdefault(key.key_id, now)
        used = signing(keys, now).key_id
        first_use.setdefault(used, now)
        last_use[used] = now
        missing = [name for name, at in last_use.items() if now < at + MAX_TOKEN_SECONDS]
        assert set(missing) <= {key.key_id for key in keys}
        assert len(keys) <= 3
    assert len(first_use) == 5
    for name in list(first_use)[1:]:
        assert first_use[name] - announced[name] >= ANNOUNCE_SECONDS


def test_after_a_long_sleep_there_is_a_key_at_once() -> None:
    keys = advanced((made(NOW, NOW + KEY_SECONDS),), NOW + 10 * KEY_SECONDS, made)
    assert [key.signs_from for key in keys] == [NOW + 10 * KEY_SECONDS]


def test_a_clock_that_was_set_back_leaves_a_key() -> None:
    keys = (made(NOW, NOW + KEY_SECONDS),)
    assert advanced(keys, NOW - HOUR, made) == keys
    assert signing(keys, NOW - HOUR) is keys[0]


def test_keys_survive_in_a_file_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "jwt" / "keys.json"
    first = JwtKeys(path).at(NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert JwtKeys(path).at(NOW + HOUR) == first
    two = JwtKeys(path).at(NOW + 23.5 * HOUR)
    assert (two[0], len(two)) == (first[0], 2)
    assert "PRIVATE" not in repr(two) + repr(JwtKeys(path))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys":[{"keyId":"a","pem":"x","signsFrom":0,"signsUntil":1}]}']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(InvalidAuthority, match="not a file of signing keys"):
        JwtKeys(path).at(NOW)
