"""A root changed in three phases, each of them found again after an interruption at any point."""

from pathlib import Path

import pytest
from cryptography import x509

from marline.identity.ca import Authority
from marline.identity.ca_home import advance_rotation, begin_rotation, open_home
from marline.identity.root_rotation import NEXT, Phase, under_way
from marline.identity.svid import issued_by

NOW = 1_800_000_000.0
DOMAIN = "cluster.local"


def opened(directory: Path) -> Authority:
    return open_home(directory, DOMAIN, NOW)


def moved_on(directory: Path) -> Authority:
    rotation = under_way(directory)
    assert rotation is not None
    advance_rotation(directory, rotation, NOW)
    return opened(directory)


def signed_by(authority: Authority, root: x509.Certificate) -> bool:
    return issued_by(authority.certificate, root)


def test_the_new_root_is_trusted_before_it_signs_and_signs_before_the_old_one_goes(tmp_path: Path) -> None:
    (old,) = opened(tmp_path).roots
    begin_rotation(tmp_path, DOMAIN, NOW)
    first = opened(tmp_path)
    assert set(first.roots) > {old}
    assert signed_by(first, old)
    second = moved_on(tmp_path)
    assert set(second.roots) == set(first.roots)
    assert not signed_by(second, old)
    third = moved_on(tmp_path)
    (new,) = third.roots
    assert new != old
    assert signed_by(third, new)
    assert (third.certificate, third.version != second.version) == (second.certificate, True)
    assert moved_on(tmp_path).version == third.version
    assert under_way(tmp_path) is None
    assert not list(tmp_path.glob(f"{NEXT}*"))


def test_what_is_under_way_is_not_begun_again(tmp_path: Path) -> None:
    opened(tmp_path)
    begin_rotation(tmp_path, DOMAIN, NOW)
    before = opened(tmp_path)
    begin_rotation(tmp_path, DOMAIN, NOW + 5)
    assert opened(tmp_path).version == before.version


def test_a_phase_ends_once_whoever_says_so(tmp_path: Path) -> None:
    opened(tmp_path)
    begin_rotation(tmp_path, DOMAIN, NOW)
    rotation = under_way(tmp_path)
    assert rotation is not None
    advance_rotation(tmp_path, rotation, NOW)
    advance_rotation(tmp_path, rotation, NOW)
    now = under_way(tmp_path)
    assert now is not None
    assert now.phase is Phase.SIGN


@pytest.mark.parametrize("moved", range(5))
def test_an_interrupted_retirement_is_finished(tmp_path: Path, moved: int) -> None:
    opened(tmp_path)
    begin_rotation(tmp_path, DOMAIN, NOW)
    signing = moved_on(tmp_path)
    rotation = under_way(tmp_path)
    assert rotation is not None
    advance_rotation(tmp_path, rotation, NOW)
    for name in ("root.key", "ca.key", "ca.pem", "root.pem")[:moved]:
        (tmp_path / f"{NEXT}{name}").rename(tmp_path / name)
    found = opened(tmp_path)
    assert found.certificate == signing.certificate
    assert len(found.roots) == 1


def test_files_that_a_crash_left_before_the_beginning_are_made_anew(tmp_path: Path) -> None:
    before = opened(tmp_path)
    (tmp_path / f"{NEXT}root.pem").write_text("half")
    assert opened(tmp_path).version == before.version
    begin_rotation(tmp_path, DOMAIN, NOW)
    assert len(opened(tmp_path).roots) == 2
