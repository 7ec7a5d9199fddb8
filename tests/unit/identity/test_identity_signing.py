"""What the authority signs: the fields of an X.509-SVID, and which requests it refuses."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st
from identity_material import DAY, NOW, csr_of, rsa_key, self_signed_authority

from marline.identity.ca import MAX_CSR_BYTES, read_csr
from marline.identity.certificates import CLOCK_SKEW_SECONDS
from marline.identity.errors import AuthorityExpired, CsrRefused, SignFailed
from marline.identity.spiffe import workload_id
from marline.identity.svid import SignedSvid, accept, make_csr, make_key

ID = workload_id("cluster.local", "default", "reviews")
AUTHORITY = self_signed_authority()
GOOD = make_csr(make_key())


def signed_leaf(csr: str = GOOD, ttl: float = 3600.0, now: float = NOW) -> x509.Certificate:
    return x509.load_pem_x509_certificate(AUTHORITY.sign(csr, ID, ttl, now).chain_pem.encode())


def extension(leaf: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension:
    return leaf.extensions.get_extension_for_class(kind)


def test_the_only_name_is_the_spiffe_id() -> None:
    leaf = signed_leaf()
    names = extension(leaf, x509.SubjectAlternativeName)
    assert list(names.value) == [x509.UniformResourceIdentifier(str(ID))]
    assert names.critical
    assert leaf.subject == x509.Name([])


def test_usages_are_those_of_an_svid() -> None:
    leaf = signed_leaf()
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    constraints = extension(leaf, x509.BasicConstraints)
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    assert set(extension(leaf, x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }


def test_nothing_but_the_key_is_taken_from_the_request() -> None:
    key = make_key()
    leaf = signed_leaf(csr_of(key, name="admin", uri="spiffe://cluster.local/ns/kube-system/sa/root"))
    assert leaf.public_key() == key.public_key()
    assert "admin" not in leaf.subject.rfc4514_string()
    assert list(extension(leaf, x509.SubjectAlternativeName).value) == [
        x509.UniformResourceIdentifier(str(ID))
    ]
    assert not extension(leaf, x509.BasicConstraints).value.ca


def test_validity_begins_before_now_and_ends_after_the_ttl() -> None:
    leaf = signed_leaf(ttl=3600.0)
    assert leaf.not_valid_before_utc.timestamp() == NOW - CLOCK_SKEW_SECONDS
    assert leaf.not_valid_after_utc.timestamp() == NOW + 3600


def test_no_certificate_outlives_its_authority() -> None:
    signed = AUTHORITY.sign(GOOD, ID, 365 * DAY, NOW)
    assert signed.not_after == AUTHORITY.validity.not_after


def test_an_expired_authority_does_not_sign() -> None:
    with pytest.raises(AuthorityExpired):
        AUTHORITY.sign(GOOD, ID, 3600, NOW + 31 * DAY)


def test_serial_numbers_are_never_the_same() -> None:
    assert len({signed_leaf().serial_number for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa_key(),
    ],
    ids=["P-384", "P-521", "secp256k1", "Ed25519", "RSA"],
)
def test_a_key_of_another_kind_is_refused(key: object) -> None:
    with pytest.raises(CsrRefused, match="another kind than P-256"):
        read_csr(csr_of(key))


def test_a_request_signed_with_another_key_is_refused() -> None:
    """Its signature is valid in form: r and s of another request."""
    der = [x509.load_pem_x509_csr(make_csr(make_key()).encode()) for _ in range(2)]
    whole = der[0].public_bytes(serialization.Encoding.DER)
    swapped = whole.replace(der[0].signature, der[1].signature[: len(der[0].signature)])
    body = base64.encodebytes(swapped).decode()
    with pytest.raises(CsrRefused):
        read_csr(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize("text", ["", "x", GOOD.replace("REQUEST", "POEM"), GOOD[:200], "ä\ud800" * 10])
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(CsrRefused, match="cannot be read"):
        read_csr(text)


def test_a_huge_request_is_refused_unread() -> None:
    with pytest.raises(CsrRefused, match="longer than"):
        read_csr("x" * (MAX_CSR_BYTES + 1))


@given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.characters())
@example(at=46, character="0")  # a version that there is not
def test_a_damaged_request_is_signed_as_it_was_or_refused(at: int, character: str) -> None:
    damaged = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        assert read_csr(damaged) == read_csr(GOOD)
    except CsrRefused:
        assert damaged != GOOD


@given(st.binary(max_size=600))
def test_any_bytes_as_a_request_are_refused(content: bytes) -> None:
    body = base64.encodebytes(content).decode()
    with pytest.raises(CsrRefused):
        read_csr(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n")


def test_the_answer_is_accepted_for_its_key_and_identity_only() -> None:
    key = make_key()
    signed = AUTHORITY.sign(make_csr(key), ID, 3600, NOW)
    svid = accept(key, ID, signed)
    assert svid.not_after == NOW + 3600
    assert svid.key_pem not in repr(svid)
    with pytest.raises(SignFailed, match="another key"):
        accept(make_key(), ID, signed)
    with pytest.raises(SignFailed, match="is not for"):
        accept(key, workload_id("cluster.local", "default", "ratings"), signed)
    with pytest.raises(SignFailed, match="trust bundle"):
        accept(key, ID, SignedSvid(signed.chain_pem, self_signed_authority().bundle_pem, signed.not_after))
    with pytest.raises(SignFailed, match="not a certificate chain"):
        accept(key, ID, SignedSvid("nonsense", signed.bundle_pem, signed.not_after))


def test_an_authority_is_due_for_renewal_after_two_thirds() -> None:
    own = AUTHORITY.validity
    due = own.not_before + (own.not_after - own.not_before) * 2 / 3
    assert not AUTHORITY.renewal_due(due - 60)
    assert AUTHORITY.renewal_due(due + 60)


def test_an_authority_does_not_show_its_key() -> None:
    assert "key=" not in repr(AUTHORITY)
