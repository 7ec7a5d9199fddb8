"""A root whose key is elsewhere: what signs is certified there and brought to the mesh."""

from pathlib import Path

import pytest

from marline.identity.ca_home import advance_rotation, begin_rotation, open_home
from marline.identity.ca_offline import import_signed, make_request, make_root, sign_request
from marline.identity.errors import InvalidAuthority
from marline.identity.root_rotation import IMPORTED, REQUEST_KEY, under_way
from marline.identity.svid import issued_by

NOW, YEAR = 1_800_000_000.0, 365 * 86400.0
DOMAIN = "bank.example"


def brought(home: Path, root: Path, now: float = NOW) -> bool:
    answer = home.parent / "answer.pem"
    answer.write_text(sign_request(root, make_request(home), now))
    return import_signed(home, answer, DOMAIN, now)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_root(tmp_path / "root", DOMAIN, NOW)
    return tmp_path / "root"


def test_a_mesh_begins_with_a_root_whose_key_it_never_had(tmp_path: Path, root: Path) -> None:
    assert not brought(tmp_path / "ca", root)
    authority = open_home(tmp_path / "ca", DOMAIN, NOW)
    assert issued_by(authority.certificate, authority.roots[0])
    assert sorted(path.name for path in (tmp_path / "ca").glob("*.key")) == ["ca.key"]
    with pytest.raises(InvalidAuthority, match="kept elsewhere"):
        begin_rotation(tmp_path / "ca", DOMAIN, NOW)


def test_what_signs_is_replaced_once_a_year(tmp_path: Path, root: Path) -> None:
    brought(tmp_path / "ca", root)
    first = open_home(tmp_path / "ca", DOMAIN, NOW)
    later = NOW + 0.7 * YEAR
    assert open_home(tmp_path / "ca", DOMAIN, later).version == first.version
    assert not brought(tmp_path / "ca", root, later)
    second = open_home(tmp_path / "ca", DOMAIN, later)
    assert (second.roots, second.certificate != first.certificate) == (first.roots, True)


@pytest.mark.parametrize("key_moved", [False, True])
def test_an_interrupted_import_is_finished(tmp_path: Path, root: Path, key_moved: bool) -> None:
    brought(tmp_path / "ca", root)
    open_home(tmp_path / "ca", DOMAIN, NOW)
    brought(tmp_path / "ca", root)
    assert (tmp_path / "ca" / IMPORTED).exists()
    if key_moved:
        (tmp_path / "ca" / REQUEST_KEY).rename(tmp_path / "ca" / "ca.key")
    open_home(tmp_path / "ca", DOMAIN, NOW)
    assert not (tmp_path / "ca" / IMPORTED).exists()


def test_another_root_begins_a_change_to_it(tmp_path: Path, root: Path) -> None:
    brought(tmp_path / "ca", root)
    old = open_home(tmp_path / "ca", DOMAIN, NOW)
    make_root(tmp_path / "other", DOMAIN, NOW)
    assert brought(tmp_path / "ca", tmp_path / "other")
    assert len(open_home(tmp_path / "ca", DOMAIN, NOW).roots) == 2
    while (rotation := under_way(tmp_path / "ca")) is not None:
        advance_rotation(tmp_path / "ca", rotation, NOW)
        found = open_home(tmp_path / "ca", DOMAIN, NOW)
    assert len(found.roots) == 1
    assert found.roots != old.roots
    assert not (tmp_path / "ca" / "root.key").exists()


def test_what_is_not_for_the_request_or_the_mesh_is_refused(tmp_path: Path, root: Path) -> None:
    brought(tmp_path / "ca", root)
    answer = tmp_path / "answer.pem"
    (tmp_path / "elsewhere").mkdir()
    answer.write_text(sign_request(root, make_request(tmp_path / "elsewhere"), NOW))
    make_request(tmp_path / "ca")
    with pytest.raises(InvalidAuthority, match="is not the key of"):
        import_signed(tmp_path / "ca", answer, DOMAIN, NOW)
    make_root(tmp_path / "foreign", "other.example", NOW)
    answer.write_text(sign_request(tmp_path / "foreign", make_request(tmp_path / "ca"), NOW))
    with pytest.raises(InvalidAuthority, match=r"other\.example"):
        import_signed(tmp_path / "ca", answer, DOMAIN, NOW)
