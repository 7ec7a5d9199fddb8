"""SPIFFE bundle documents: written, read, and refused where a stranger has sent something else."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_material import make_authority, rsa_key

from marline.identity.bundle_document import TrustBundle, read_bundle, write_bundle
from marline.identity.ca import pem
from marline.identity.errors import InvalidBundle
from marline.identity.jwt_keys import new_key, private_key, public_jwk

ROOT, RSA_ROOT = make_authority("root"), make_authority("rsa", key=rsa_key())
LEAF = make_authority("leaf", ca=False)
SIGNING = new_key(0.0, 1.0)
BUNDLE = TrustBundle(
    "cluster.local",
    pem(ROOT.certificate, RSA_ROOT.certificate),
    json.dumps({"keys": [public_jwk(SIGNING)]}, separators=(",", ":"), sort_keys=True),
    7,
    60,
)


def der(made: Any) -> str:
    return base64.b64encode(made.certificate.public_bytes(serialization.Encoding.DER)).decode()


def test_what_is_written_is_read() -> None:
    assert read_bundle("cluster.local", write_bundle(BUNDLE)) == BUNDLE
    assert BUNDLE.public_keys() == {SIGNING.key_id: private_key(SIGNING).public_key()}


def test_a_document_is_as_the_specification_says() -> None:
    document = json.loads(write_bundle(BUNDLE))
    assert (document["spiffe_sequence"], document["spiffe_refresh_hint"]) == (7, 60)
    assert [(key["use"], key["kty"]) for key in document["keys"]] == [
        ("x509-svid", "EC"), ("x509-svid", "RSA"), ("jwt-svid", "EC"),
    ]  # fmt: skip
    assert [len(key.get("x5c", ())) for key in document["keys"]] == [1, 1, 0]


def test_keys_for_another_use_are_passed_over() -> None:
    keys = [{"use": "wit-svid", "kty": "EC"}, {"kty": "EC"}, 7, {"use": ["x509-svid"]}]
    assert read_bundle("cluster.local", json.dumps({"keys": keys})) == TrustBundle("cluster.local")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "expected a JSON object"),
        ({}, "the list 'keys'"),
        ({"keys": [{"use": "x509-svid"}]}, r"keys\[0\].x5c has not exactly one"),
        ({"keys": [{"use": "x509-svid", "x5c": [der(ROOT), der(ROOT)]}]}, "exactly one"),
        ({"keys": [{"use": "x509-svid", "x5c": ["AAAA"]}]}, "not the certificate"),
        ({"keys": [{"use": "x509-svid", "x5c": ["!"]}]}, "not the certificate"),
        ({"keys": [{"use": "x509-svid", "x5c": [der(LEAF)]}]}, "not the certificate of an authority"),
        ({"keys": [{"use": "jwt-svid", **public_jwk(SIGNING), "kid": ""}]}, "ID"),
        ({"keys": [{"use": "jwt-svid", **public_jwk(SIGNING)}] * 2}, "ID"),
        ({"keys": [{"use": "jwt-svid", "kty": "EC", "kid": "a"}]}, "crv is missing"),
        ({"keys": [{}] * 101}, "at most 100"),
        ({"keys": [], "spiffe_sequence": -1}, "spiffe_sequence"),
        ({"keys": [], "spiffe_refresh_hint": 1.5}, "spiffe_refresh_hint"),
    ],
)
def test_what_is_no_bundle_is_refused(document: Any, reason: str) -> None:
    with pytest.raises(InvalidBundle, match=reason):
        read_bundle("cluster.local", json.dumps(document))


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(der(ROOT)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEY = st.fixed_dictionaries(
    {"use": st.sampled_from(["x509-svid", "jwt-svid"])},
    optional={
        **dict.fromkeys(("x5c", "n", "e", "x", "y", "kid", "alg"), _ANYTHING),
        "kty": st.sampled_from(["EC", "RSA", "OKP"]) | _ANYTHING,
        "crv": st.sampled_from(["P-256", "P-521", "Ed25519"]) | _ANYTHING,
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of text, at its first use
@given(st.binary() | st.builds(lambda keys: json.dumps({"keys": keys}).encode(), st.lists(_KEY, max_size=3)))
def test_hostile_documents_end_in_a_bundle_or_in_one_error(data: bytes) -> None:
    try:
        bundle = read_bundle("cluster.local", data)
    except InvalidBundle:
        return
    bundle.public_keys()
    assert read_bundle("cluster.local", write_bundle(bundle)) == bundle
