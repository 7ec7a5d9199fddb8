"""Signing for nodes: who may ask, for what, and what goes over the wire."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_material import DAY, NOW, self_signed_authority

from marline.identity.ca import MAX_CSR_BYTES, Authority
from marline.identity.endpoint import SignEndpoint, SignRefused, answer_of, request_of
from marline.identity.errors import InvalidAuthority, InvalidLifetime, SignFailed
from marline.identity.spiffe import SpiffeId, parse
from marline.identity.svid import accept, make_csr, make_key

ID = "spiffe://cluster.local/ns/default/sa/reviews"
AUTHORITY = self_signed_authority()
CSR = make_csr(make_key())


class Refused(Exception):
    """What the caller of the endpoint raises for identities that are not for its caller."""


def anybody(identity: SpiffeId) -> None:
    """Permits all."""


def nobody(identity: SpiffeId) -> None:
    raise Refused(str(identity))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["csr", "spiffeId", "x"]), inner)
    ),
    max_leaves=8,
)


def endpoint(authority: Authority = AUTHORITY) -> SignEndpoint:
    return SignEndpoint(authority, "cluster.local", 3600.0)


def refusal(body: object, now: float = NOW) -> SignRefused:
    with pytest.raises(SignRefused) as refused:
        endpoint().handle(body, anybody, now)
    return refused.value


def test_a_node_gets_its_workloads_certificate_through_json() -> None:
    key = make_key()
    wire = json.loads(json.dumps(request_of(make_csr(key), ID)))
    assert set(wire) == {"csr", "spiffeId"}
    answer = json.loads(json.dumps(endpoint().handle(wire, anybody, NOW)))
    assert set(answer) == {"chain", "bundle", "notAfter", "authority"}
    assert accept(key, parse(ID), answer_of(answer)).not_after == NOW + 3600


def test_nothing_is_signed_that_is_not_permitted() -> None:
    with pytest.raises(Refused, match="sa/reviews"):
        endpoint().handle(request_of(CSR, ID), nobody, NOW)


@pytest.mark.parametrize(
    ("spiffe_id", "fault"),
    [
        ("reviews", "is not a SPIFFE ID"),
        ("spiffe://example.org/ns/default/sa/reviews", "not of this mesh's trust domain cluster.local"),
        ("spiffe://cluster.local", "does not have the form"),
        ("spiffe://cluster.local/ns/default", "does not have the form"),
        ("spiffe://cluster.local/ns/../sa/reviews", "is not a SPIFFE ID"),
    ],
)
def test_other_identities_than_workloads_of_this_mesh_are_refused(spiffe_id: str, fault: str) -> None:
    refused = refusal(request_of(CSR, spiffe_id))
    assert refused.code == 400
    assert fault in refused.message


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"csr": CSR}, {"csr": 1, "spiffeId": ID}, {"csr": CSR, "spiffeId": ID, "ttl": 1}],
)
def test_another_shape_is_refused(body: object) -> None:
    assert refusal(body).code == 400


@given(JSON)
def test_any_json_is_refused_in_kind(body: Any) -> None:
    assert refusal(body).code in (400, 413)


def test_a_bad_request_for_a_certificate_is_refused() -> None:
    refused = refusal(request_of("nonsense", ID))
    assert (refused.code, refused.reason) == (400, "BadRequest")
    assert refusal(request_of("x" * (MAX_CSR_BYTES + 1), ID)).code == 413


def test_an_expired_authority_is_told_from_a_bad_request() -> None:
    refused = refusal(request_of(CSR, ID), now=NOW + 31 * DAY)
    assert (refused.code, refused.reason) == (503, "ServiceUnavailable")


def test_the_authority_is_renewed_while_the_control_plane_runs() -> None:
    signing, newer = endpoint(), self_signed_authority()
    opened: list[float] = []

    def reopen(now: float) -> Authority:
        opened.append(now)
        return newer

    signing.reopen = reopen
    signing.handle(request_of(CSR, ID), anybody, NOW)
    assert opened == []
    late = NOW + 25 * DAY
    assert signing.handle(request_of(CSR, ID), anybody, late)["bundle"] == newer.bundle_pem
    signing.handle(request_of(CSR, ID), anybody, late + 60)
    assert opened == [late], "an authority that stays due is not loaded for every request"


def test_an_authority_that_cannot_be_renewed_signs_on() -> None:
    def reopen(now: float) -> Authority:
        raise InvalidAuthority("ca.pem", "is gone")

    signing = replace(endpoint(), reopen=reopen)
    assert signing.handle(request_of(CSR, ID), anybody, NOW + 25 * DAY)["bundle"] == AUTHORITY.bundle_pem


@pytest.mark.parametrize("body", [None, {}, {"chain": "", "bundle": "", "notAfter": "tomorrow"}, "x"])
def test_an_answer_of_another_shape_is_a_failure(body: object) -> None:
    with pytest.raises(SignFailed):
        answer_of(body)


@pytest.mark.parametrize("ttl", [9.9, 0.0, -1.0, float("nan")])
def test_a_life_too_short_to_be_renewed_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidLifetime, match="at least 10 s"):
        SignEndpoint(AUTHORITY, "cluster.local", ttl)
