"""Key sets come from strangers: what is no good is said so, and what goes on to Envoy is only keys."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marline.api.security import jwks
from marline.api.security.jwks import MAX_BYTES, MAX_KEYS, KeySet, MalformedKeys, read_keys

N = jwks._encoded(rsa.generate_private_key(65537, 2048).public_key().public_numbers().n)
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
RSA: dict[str, Any] = {"kty": "RSA", "n": N, "e": "AQAB"}
EC: dict[str, Any] = {
    "kty": "EC", "crv": "P-256", "x": jwks._encoded(POINT.x, 32), "y": jwks._encoded(POINT.y, 32),
}  # fmt: skip
OKP: dict[str, Any] = {
    "kty": "OKP", "crv": "Ed25519",
    "x": jwks._base64url(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()),
}  # fmt: skip


def keys(*found: Any) -> str:
    return json.dumps({"keys": found})


def fault(text: str | bytes) -> str:
    with pytest.raises(MalformedKeys) as caught:
        read_keys(text)
    return str(caught.value)


def test_of_a_key_only_what_verifies_goes_on() -> None:
    more = {"kid": "one", "use": "sig", "alg": "RS256", "x5c": ["MII"], "key_ops": ["verify"], "d": "secret"}
    (made,) = json.loads(read_keys(keys({**RSA, **more})).document)["keys"]
    assert made == {**RSA, "kid": "one", "alg": "RS256"}


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda it: it.name)
def test_points_of_each_curve_are_known(curve: ec.EllipticCurve) -> None:
    name = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[curve.name]
    octets = (curve.key_size + 7) // 8
    for _ in range(3):
        point = ec.generate_private_key(curve).public_key().public_numbers()
        key = {"kty": "EC", "crv": name, "x": jwks._encoded(point.x, octets)}
        assert read_keys(keys({**key, "y": jwks._encoded(point.y, octets)})).faults == ()
        assert "no point" in fault(keys({**key, "y": jwks._encoded(point.y ^ 1, octets)}))


def test_keys_for_something_else_are_passed_over() -> None:
    others = ({"kty": "oct", "k": "c2VjcmV0"}, {**RSA, "use": "enc"}, {**RSA, "key_ops": ["encrypt"]})
    assert read_keys(keys(*others, OKP)) == KeySet(keys(OKP).replace(" ", "").replace(
        json.dumps(OKP).replace(" ", ""), json.dumps(OKP, sort_keys=True).replace(" ", "")
    ))  # fmt: skip
    assert "no key" in fault(keys(*others))


def test_of_several_keys_the_good_ones_count_and_the_others_are_told() -> None:
    found = read_keys(keys({**RSA, "n": "AQAB"}, OKP, "text"))
    assert len(json.loads(found.document)["keys"]) == 1
    assert found.faults[0].startswith("keys[0]: an RSA key of 17 bits")
    assert found.faults[1].startswith("keys[2]: expected an object")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "expected a JSON object"),
        ('{"keys": {}}', "no JSON Web Key Set"),
        ('{"keys": [], "keys": []}', "'keys' twice"),
        (keys(OKP)[:-3] + ', "x": "AAAA"}]}', "'x' twice"),
        ('{"keys": [NaN]}', "NaN"),
        (b'{"keys": ["\xff"]}', "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"keys": ' + "[" * 40 + "]" * 40 + "}", "nested too deeply"),
        (" " * (MAX_BYTES + 1), "KiB"),
        (keys(*[OKP] * (MAX_KEYS + 1)), "at most"),
        ('{"keys": [' + "9" * 5000 + "]}", "is not JSON"),
    ],
    ids=range(12),
)
def test_what_is_no_key_set_is_refused(text: str | bytes, said: str) -> None:
    assert said in fault(text)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({**RSA, "n": jwks._encoded((1 << 1023) + 1)}, "1024 bits"),
        ({**RSA, "n": jwks._encoded((1 << 9000) + 1)}, "9001 bits"),
        ({**RSA, "e": "Ag"}, "odd"),
        ({**RSA, "e": "AQ"}, "e is 3 or more"),
        ({**RSA, "n": "!!"}, "base64url"),
        ({**RSA, "n": 5}, "n is no text"),
        ({**RSA, "alg": "HS256"}, "'HS256' is not for this key"),
        ({**RSA, "kid": "x" * 2000}, "kid is longer"),
        ({**RSA, "kid": ["x"]}, "kid is no text"),
        ({**EC, "crv": "secp256k1"}, "'secp256k1' is not known"),
        ({**EC, "alg": "ES384"}, "expected ES256"),
        ({**OKP, "crv": "X25519"}, "expected Ed25519"),
        ({**OKP, "x": "AAAA"}, "3 bytes"),
        ({"n": N, "e": "AQAB"}, "kty is missing"),
        (None, "expected an object"),
    ],
    ids=range(15),
)
def test_a_key_that_is_no_good_says_why(key: Any, said: str) -> None:
    assert said in fault(keys(key))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(("kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"))
KNOWN = st.sampled_from(("RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "RS256", "AQAB", N, ""))
HOSTILE = st.builds(
    lambda base, changes: {**base, **changes},
    st.sampled_from((RSA, EC, OKP, {})),
    st.dictionaries(NAMES, KNOWN | VALUES, max_size=4),
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | st.lists(HOSTILE | VALUES, max_size=4).map(lambda it: keys(*it).encode()))
@example(b"\xef\xbb\xbf{}")
@example(b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "", "y": ""}]}')
def test_whatever_comes_is_read_or_refused_and_reading_it_again_changes_nothing(text: bytes) -> None:
    try:
        found = read_keys(text)
    except MalformedKeys as error:
        assert str(error)
        return
    assert read_keys(found.document) == KeySet(found.document)
    assert all(key["kty"] in ("RSA", "EC", "OKP") for key in json.loads(found.document)["keys"])
