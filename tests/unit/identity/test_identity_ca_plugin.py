"""An authority that is given in Istio's files: which are taken, and what is said of the others."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from identity_material import DAY, NOW, TRUST_DOMAIN, Made, make_authority, rsa_key, write_plugin

from marline.identity.ca_plugin import load_plugin
from marline.identity.errors import InvalidAuthority
from marline.identity.spiffe import workload_id
from marline.identity.svid import Svid, accept, make_csr, make_key

ROOT = make_authority("root")
MIDDLE = make_authority("middle", ROOT, path_length=1)
SIGNING = make_authority("signing", MIDDLE, path_length=0)


def svid_from(directory: Path) -> Svid:
    authority = load_plugin(directory, TRUST_DOMAIN, NOW)
    key, identity = make_key(), workload_id(TRUST_DOMAIN, "default", "reviews")
    return accept(key, identity, authority.sign(make_csr(key), identity, 3600, NOW))


def refusal(directory: Path, trust_domain: str = TRUST_DOMAIN) -> str:
    with pytest.raises(InvalidAuthority) as refused:
        load_plugin(directory, trust_domain, NOW)
    return str(refused.value)


def certificates(text: str) -> int:
    return text.count("BEGIN CERTIFICATE")


@pytest.mark.parametrize(
    "chain",
    [[MIDDLE], [SIGNING, MIDDLE], [SIGNING, MIDDLE, ROOT], [ROOT, MIDDLE, SIGNING]],
    ids=["without itself", "with itself", "with the root", "in another order"],
)
def test_a_chain_in_any_form_leads_to_the_root(tmp_path: Path, chain: list[Made]) -> None:
    svid = svid_from(write_plugin(tmp_path, SIGNING, [ROOT], chain))
    assert certificates(svid.chain_pem) == 3
    assert certificates(svid.bundle_pem) == 1


def test_a_root_may_sign_by_itself(tmp_path: Path) -> None:
    svid = svid_from(write_plugin(tmp_path, ROOT, [ROOT], []))
    assert certificates(svid.chain_pem) == 1


def test_the_bundle_may_have_the_next_root_too(tmp_path: Path) -> None:
    svid = svid_from(write_plugin(tmp_path, SIGNING, [make_authority("next"), ROOT], [MIDDLE]))
    assert certificates(svid.bundle_pem) == 2


@pytest.mark.parametrize("key", [rsa_key(), ec.generate_private_key(ec.SECP384R1())], ids=["RSA", "P-384"])
def test_other_kinds_of_keys_may_sign(tmp_path: Path, key: object) -> None:
    signing = make_authority("signing", ROOT, key=key)
    assert certificates(svid_from(write_plugin(tmp_path, signing, [ROOT], [])).chain_pem) == 2


@pytest.mark.parametrize(
    "key", [rsa_key(1024), ec.generate_private_key(ec.SECP521R1())], ids=["RSA", "P-521"]
)
def test_weak_and_unusual_keys_are_refused(tmp_path: Path, key: object) -> None:
    message = refusal(write_plugin(tmp_path, make_authority("signing", ROOT, key=key), [ROOT], []))
    assert "ca-key.pem: the key must be" in message


@pytest.mark.parametrize("name", ["ca-cert.pem", "ca-key.pem", "root-cert.pem"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_plugin(tmp_path, SIGNING, [ROOT], [MIDDLE]) / name).unlink()
    assert f"{name}: cannot be read: No such file" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"])
def test_a_file_that_cannot_be_understood_is_named(tmp_path: Path, name: str) -> None:
    (write_plugin(tmp_path, SIGNING, [ROOT], [MIDDLE]) / name).write_bytes(b"\xff\x00 nonsense")
    assert f"{name}: has no" in refusal(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (write_plugin(tmp_path, SIGNING, [ROOT], [MIDDLE]) / "cert-chain.pem").write_bytes(b"x" * 300_000)
    assert "cert-chain.pem: is longer than" in refusal(tmp_path)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    encrypted = SIGNING.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()
    message = refusal(write_plugin(tmp_path, SIGNING, [ROOT], [MIDDLE], encrypted))
    assert "ca-key.pem: is encrypted" in message


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    message = refusal(write_plugin(tmp_path, SIGNING, [ROOT], [MIDDLE], MIDDLE.key_pem))
    assert "ca-key.pem: is not the key of the certificate CN=signing" in message


def test_a_missing_link_is_named(tmp_path: Path) -> None:
    message = refusal(write_plugin(tmp_path, SIGNING, [ROOT], []))
    assert "nothing leads from CN=signing to a root" in message


def test_a_root_of_the_same_name_but_another_key_is_not_its_root(tmp_path: Path) -> None:
    message = refusal(write_plugin(tmp_path, SIGNING, [make_authority("root")], [MIDDLE]))
    assert "nothing leads from CN=middle" in message


def test_an_intermediate_among_the_roots_is_refused(tmp_path: Path) -> None:
    message = refusal(write_plugin(tmp_path, SIGNING, [MIDDLE], []))
    assert "root-cert.pem: CN=middle is not a root" in message


@pytest.mark.parametrize(
    ("signing", "fault"),
    [
        (make_authority("leaf", ROOT, ca=False), "is not an authority's"),
        (make_authority("mute", ROOT, signs=False), "may not sign certificates"),
        (make_authority("old", ROOT, starts=NOW - 9 * DAY, ends=NOW - 1), "expired at"),
        (make_authority("young", ROOT, starts=NOW + DAY), "is not valid before"),
        (make_authority("foreign", ROOT, uri="spiffe://example.org"), "is for spiffe://example.org"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.certificate.subject.rfc4514_string(),
)
def test_a_certificate_that_may_not_sign_is_refused(tmp_path: Path, signing: Made, fault: str) -> None:
    assert fault in refusal(write_plugin(tmp_path, signing, [ROOT], []))


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    short = make_authority("short root", path_length=0)
    signing = make_authority("signing", short)
    message = refusal(write_plugin(tmp_path, signing, [short], []))
    assert "CN=short root allows 0 authorities below it, and there are 1" in message


def test_an_expired_root_is_refused(tmp_path: Path) -> None:
    old = make_authority("old root", starts=NOW - 9 * DAY, ends=NOW - 1)
    assert "CN=old root expired at" in refusal(write_plugin(tmp_path, make_authority("s", old), [old], []))


@pytest.mark.parametrize(
    ("permitted", "excluded", "allowed"),
    [
        (["cluster.local"], None, True),
        ([".local"], None, True),
        (["example.org"], None, False),
        (None, ["cluster.local"], False),
        (None, [".example.org"], True),
    ],
)
def test_name_constraints_are_heeded(
    tmp_path: Path, permitted: list[str] | None, excluded: list[str] | None, allowed: bool
) -> None:
    trees = [
        [x509.UniformResourceIdentifier(item) for item in items] if items else None
        for items in (permitted, excluded)
    ]
    signing = make_authority("bound", ROOT, constraints=x509.NameConstraints(*trees))
    write_plugin(tmp_path, signing, [ROOT], [])
    if allowed:
        load_plugin(tmp_path, TRUST_DOMAIN, NOW)
    else:
        assert "name constraints of CN=bound do not allow" in refusal(tmp_path)
