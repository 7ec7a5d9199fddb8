"""The mesh's own authority in its files: first start, interruption, concurrency, renewal, damage."""

import multiprocessing
import stat
from pathlib import Path

import pytest
from identity_material import DAY, NOW, TRUST_DOMAIN

from marline.identity import ca_home
from marline.identity.ca import Authority, pem
from marline.identity.ca_home import INTERMEDIATE_SECONDS, ROOT_SECONDS, open_home
from marline.identity.errors import InvalidAuthority
from marline.identity.spiffe import workload_id
from marline.identity.svid import accept, make_csr, make_key

ID = workload_id(TRUST_DOMAIN, "default", "reviews")


def opened(directory: Path, now: float = NOW) -> Authority:
    return open_home(directory, TRUST_DOMAIN, now)


def test_the_first_start_makes_a_root_and_what_signs(tmp_path: Path) -> None:
    authority = opened(tmp_path / "data" / "ca")
    key = make_key()
    svid = accept(key, ID, authority.sign(make_csr(key), ID, 3600, NOW))
    assert svid.chain_pem.count("BEGIN CERTIFICATE") == 2
    assert svid.bundle_pem.count("BEGIN CERTIFICATE") == 1
    assert authority.validity.not_after == NOW + INTERMEDIATE_SECONDS
    assert authority.roots[0].not_valid_after_utc.timestamp() == NOW + ROOT_SECONDS


def test_a_later_start_finds_the_same(tmp_path: Path) -> None:
    first, later = opened(tmp_path / "ca"), opened(tmp_path / "ca", NOW + DAY)
    assert (first.certificate, first.roots) == (later.certificate, later.roots)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()}
    assert modes["root.key"] == modes["ca.key"] == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def _root_of(directory: Path) -> str:
    return opened(directory).bundle_pem


def test_many_first_starts_at_once_make_one_authority(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        roots = pool.map(_root_of, [tmp_path / "ca"] * 8, chunksize=1)
    assert len(set(roots)) == 1


@pytest.mark.parametrize("files_written", range(4))
def test_an_interrupted_first_start_is_finished(
    tmp_path: Path, files_written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    really = ca_home.write_whole

    def interrupted(path: Path, content: str, mode: int) -> None:
        if len(written) == files_written:
            path.with_name(f".{path.name}.abcd").write_text(content[:50])
            raise KeyboardInterrupt
        written.append(path)
        really(path, content, mode)

    monkeypatch.setattr(ca_home, "write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path / "ca")
    monkeypatch.undo()
    authority = opened(tmp_path / "ca")
    key = make_key()
    accept(key, ID, authority.sign(make_csr(key), ID, 3600, NOW))
    names = {path.name for path in (tmp_path / "ca").iterdir()}
    assert names == {"root.pem", "root.key", "ca.pem", "ca.key", "lock"}


def test_what_signs_is_renewed_when_two_thirds_are_over(tmp_path: Path) -> None:
    first = opened(tmp_path / "ca")
    assert opened(tmp_path / "ca", NOW + INTERMEDIATE_SECONDS * 0.6).certificate == first.certificate
    renewed = opened(tmp_path / "ca", NOW + INTERMEDIATE_SECONDS * 0.7)
    assert renewed.certificate != first.certificate
    assert renewed.roots == first.roots
    assert renewed.validity.not_after == pytest.approx(NOW + INTERMEDIATE_SECONDS * 1.7, abs=2)


def test_the_roots_key_may_be_kept_elsewhere(tmp_path: Path) -> None:
    first = opened(tmp_path / "ca")
    (tmp_path / "ca" / "root.key").unlink()
    assert opened(tmp_path / "ca", NOW + INTERMEDIATE_SECONDS * 0.9).certificate == first.certificate
    with pytest.raises(InvalidAuthority, match=r"ca.pem: cannot be used .*expired.* needs .*root.key"):
        opened(tmp_path / "ca", NOW + INTERMEDIATE_SECONDS + 1)


def test_what_signs_does_not_outlive_the_root(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    late = opened(tmp_path / "ca", NOW + ROOT_SECONDS - DAY)
    assert late.validity.not_after == NOW + ROOT_SECONDS


def test_an_expired_root_is_named(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    with pytest.raises(InvalidAuthority, match=r"root.pem: the certificate .* expired"):
        opened(tmp_path / "ca", NOW + ROOT_SECONDS + 1)


def test_a_lost_root_is_not_replaced_in_silence(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    (tmp_path / "ca" / "root.pem").unlink()
    with pytest.raises(InvalidAuthority, match="restore it"):
        opened(tmp_path / "ca")


def test_another_trust_domain_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    with pytest.raises(InvalidAuthority, match=r"is for spiffe://cluster.local, and .* example.org"):
        open_home(tmp_path / "ca", "example.org", NOW)


def test_a_damaged_root_is_named(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    (tmp_path / "ca" / "root.pem").write_text("gone")
    with pytest.raises(InvalidAuthority, match=r"root.pem: has no certificate"):
        opened(tmp_path / "ca")


def test_a_foreign_root_key_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    opened(tmp_path / "other")
    (tmp_path / "ca" / "root.key").write_text((tmp_path / "other" / "root.key").read_text())
    (tmp_path / "ca" / "ca.pem").unlink()
    with pytest.raises(InvalidAuthority, match=r"root.key: is not the key"):
        opened(tmp_path / "ca")


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("a file")
    with pytest.raises(InvalidAuthority, match="cannot be kept"):
        opened(tmp_path / "ca")


def test_certificates_are_written_without_their_keys(tmp_path: Path) -> None:
    authority = opened(tmp_path / "ca")
    assert (tmp_path / "ca" / "ca.pem").read_text() == pem(authority.certificate)
