"""JWT-SVIDs: what is believed of a token, and that whatever a stranger sends ends in a typed error."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from identity_material import NOW

from marline.identity.errors import InvalidToken
from marline.identity.jwt_svid import MAX_TOKEN_BYTES, encode, sign, trust_domain_of, verify
from marline.identity.spiffe import parse
from marline.identity.svid import make_key

ID = "spiffe://cluster.local/ns/default/sa/reviews"
KEY = make_key()
P384, P521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
RSA = rsa.generate_private_key(65537, 2048)
KEYS = {
    "own": KEY.public_key(),
    "p384": P384.public_key(),
    "p521": P521.public_key(),
    "rsa": RSA.public_key(),
}
GOOD = {"sub": ID, "aud": ["payments"], "exp": NOW + 60}


def signature(algorithm: str, signed: bytes) -> bytes:
    digest = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}[algorithm[2:]]()
    match algorithm[:2]:
        case "RS":
            return RSA.sign(signed, padding.PKCS1v15(), digest)
        case "PS":
            salted = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            return RSA.sign(signed, salted, digest)
    key = {"ES256": KEY, "ES384": P384, "ES512": P521}[algorithm]
    octets = (key.curve.key_size + 7) // 8
    return b"".join(
        part.to_bytes(octets) for part in decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
    )


def token(claims: Any = GOOD, algorithm: str = "ES256", key_id: str = "own", **header: Any) -> str:
    parts = ({"alg": algorithm, "kid": key_id, **header}, claims)
    signed = ".".join(encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{encode(signature(algorithm, signed.encode()))}"


def with_algorithm(name: str) -> str:
    """A token whose header says another one afterwards."""
    return f"{encode(json.dumps({'alg': name, 'kid': 'own'}).encode())}.{token().split('.', 1)[1]}"


def test_what_is_signed_is_believed() -> None:
    made = sign(KEY, "own", parse(ID), ["payments", "ledger"], NOW, NOW + 300)
    assert trust_domain_of(made) == "cluster.local"
    verified = verify(made, KEYS, "ledger", NOW)
    assert (str(verified.spiffe_id), verified.claims["exp"]) == (ID, int(NOW + 300))


@pytest.mark.parametrize(
    ("algorithm", "key_id"),
    [("ES256", "own"), ("ES384", "p384"), ("ES512", "p521")]
    + [(kind + size, "rsa") for kind in ("RS", "PS") for size in ("256", "384", "512")],
)
def test_every_algorithm_of_the_specification_is_verified(algorithm: str, key_id: str) -> None:
    assert str(verify(token(algorithm=algorithm, key_id=key_id), KEYS, "payments", NOW).spiffe_id) == ID
    with pytest.raises(InvalidToken, match="signature is wrong"):
        verify(token(algorithm=algorithm, key_id="own" if key_id == "rsa" else "rsa"), KEYS, "payments", NOW)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 11}, "expired"),
        ({"exp": "never"}, "when it expires"),
        ({"exp": None}, "when it expires"),
        ({"exp": True}, "when it expires"),
        ({"nbf": NOW + 11}, "not valid yet"),
        ({"nbf": []}, "not valid yet"),
        ({"aud": "ledger"}, "not for the audience"),
        ({"aud": None}, "not for the audience"),
        ({"aud": [["payments"]]}, "not for the audience"),
        ({"sub": "reviews"}, "not a SPIFFE ID"),
        ({"sub": 7}, "names no identity"),
        ({"iat": 2**60}, "too large"),
    ],
)
def test_claims_that_are_not_good_are_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        verify(token({**GOOD, **claims}), KEYS, "payments", NOW)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (token(key_id="other"), "no key 'other'"),
        (token(key_id=""), "names no key"),
        (token(typ="at+jwt"), "type"),
        (token(crit=["b64"]), "crit"),
        (token().rsplit(".", 1)[0] + ".", "signature is wrong"),
        (token() + ".", "three parts"),
        (token().replace(".", "=.", 1), "base64url"),
        (f"{encode(b'{}')}.{encode(b'{}')}.", "algorithm 'None'"),
        (with_algorithm("none"), "'none'"),
        (with_algorithm("HS256"), "'HS256'"),
        (encode(b'{"alg":"ES256","alg":"none"}') + ".e30.", "twice"),
        ("a" * (MAX_TOKEN_BYTES + 1), "longer"),
    ],
)
def test_tokens_that_are_not_well_made_are_refused(made: str, reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        verify(made, KEYS, "payments", NOW)


def test_no_part_of_a_token_can_be_changed() -> None:
    made = token()
    header, claims, signed = made.split(".")
    forged = encode(json.dumps({**GOOD, "sub": ID + "x"}).encode())
    for other in (f"{header}.{forged}.{signed}", f"{header}.{claims}.{signed[:-4]}AAAA"):
        with pytest.raises(InvalidToken, match="signature is wrong"):
            verify(other, KEYS, "payments", NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_CLAIMS = st.fixed_dictionaries({}, optional=dict.fromkeys(("sub", "aud", "exp", "nbf", "iat"), _JSON))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
@example("..")
@example("e30.e30.e30")
def test_hostile_text_is_refused(text: str) -> None:
    for ask in (trust_domain_of, lambda given: verify(given, KEYS, "payments", NOW)):
        with pytest.raises(InvalidToken):
            ask(text)


@given(_CLAIMS, st.dictionaries(st.sampled_from(["typ", "crit", "jwk", "x5c"]), _JSON, max_size=2))
def test_hostile_claims_that_are_signed_are_refused_or_believed(
    claims: dict[str, Any], header: dict[str, Any]
) -> None:
    try:
        verified = verify(token({**GOOD, **claims}, **header), KEYS, "payments", NOW)
    except InvalidToken:
        return
    assert str(verified.spiffe_id) == {**GOOD, **claims}["sub"]
