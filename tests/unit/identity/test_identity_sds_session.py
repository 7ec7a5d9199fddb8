"""Conversations on one SDS stream: what is answered to which request, and when new secrets are sent."""

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from marline.compile.resource import SECRET
from marline.compile.tls import BUNDLE_SECRET, SVID_SECRET
from marline.identity.sds_session import MAX_NAMES, InvalidRequest, SdsSession, Secrets
from marline.identity.spiffe import workload_id
from marline.identity.svid import Svid
from marline.identity.trust_secrets import proxy_secrets

ID = workload_id("cluster.local", "default", "reviews")
BOTH = (SVID_SECRET, BUNDLE_SECRET)


def secrets(serial: int, bundle: str = "root") -> Secrets:
    return proxy_secrets(Svid(ID, f"key {serial}", f"chain {serial}", bundle, 0.0), {})


def ask(*names: str, nonce: str = "", error: str = "") -> discovery_pb2.DiscoveryRequest:
    request = discovery_pb2.DiscoveryRequest(type_url=SECRET, resource_names=names, response_nonce=nonce)
    if error:
        request.error_detail.message = error
    return request


def names_in(response: discovery_pb2.DiscoveryResponse | None) -> list[str]:
    assert response is not None
    return [secret_pb2.Secret.FromString(item.value).name for item in response.resources]


def test_the_secrets_have_chain_key_and_bundle() -> None:
    own, bundle = (secret_pb2.Secret.FromString(secrets(1)[name]) for name in BOTH)
    assert own.tls_certificate.certificate_chain.inline_bytes == b"chain 1"
    assert own.tls_certificate.private_key.inline_bytes == b"key 1"
    assert bundle.validation_context.trusted_ca.inline_bytes == b"root"


def test_a_request_is_answered_with_what_it_names() -> None:
    response = SdsSession(secrets(1)).request(ask(SVID_SECRET))
    assert names_in(response) == [SVID_SECRET]
    assert response is not None
    assert (response.type_url, bool(response.nonce), bool(response.version_info)) == (SECRET, True, True)


def test_an_acknowledgement_is_not_answered() -> None:
    session = SdsSession(secrets(1))
    response = session.request(ask(*BOTH))
    assert session.request(ask(*BOTH, nonce=response.nonce)) is None


def test_without_secrets_the_answer_waits_for_them() -> None:
    session = SdsSession()
    assert session.request(ask(SVID_SECRET)) is None
    assert names_in(session.update(secrets(1))) == [SVID_SECRET]


def test_new_secrets_are_sent_when_they_come() -> None:
    session = SdsSession(secrets(1))
    first = session.request(ask(SVID_SECRET))
    session.request(ask(SVID_SECRET, nonce=first.nonce))
    second = session.update(secrets(2))
    assert names_in(second) == [SVID_SECRET]
    assert second.version_info != first.version_info


def test_a_stream_is_not_told_of_what_stayed_the_same() -> None:
    session = SdsSession(secrets(1))
    session.request(ask(BUNDLE_SECRET, nonce=session.request(ask(BUNDLE_SECRET)).nonce))
    assert session.update(secrets(2)) is None
    assert names_in(session.update(secrets(3, bundle="another root"))) == [BUNDLE_SECRET]


def test_only_the_newest_is_sent_once_the_last_was_acknowledged() -> None:
    session = SdsSession(secrets(1))
    first = session.request(ask(SVID_SECRET))
    assert session.update(secrets(2)) is None
    assert session.update(secrets(3)) is None
    late = session.request(ask(SVID_SECRET, nonce=first.nonce))
    assert b"chain 3" in late.resources[0].value


def test_what_was_refused_is_not_sent_again_but_its_successor_is() -> None:
    session = SdsSession(secrets(1))
    first = session.request(ask(SVID_SECRET))
    assert session.request(ask(SVID_SECRET, nonce=first.nonce, error="no such curve")) is None
    assert session.update(secrets(2)) is not None


def test_a_refusal_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    session = SdsSession(secrets(1))
    session.request(ask(SVID_SECRET, nonce=session.request(ask(SVID_SECRET)).nonce, error="no such curve"))
    assert "no such curve" in caplog.text
    assert "key 1" not in caplog.text + repr(session)


def test_what_is_said_of_an_earlier_response_does_not_count() -> None:
    session = SdsSession(secrets(1))
    first = session.request(ask(SVID_SECRET))
    session.request(ask(SVID_SECRET, nonce=first.nonce))
    second = session.update(secrets(2))
    assert session.request(ask(SVID_SECRET, nonce=first.nonce)) is None
    assert session.update(secrets(3)) is None, "the second is still under way"
    assert session.request(ask(SVID_SECRET, nonce=second.nonce)) is not None


def test_another_name_is_answered_with_all() -> None:
    session = SdsSession(secrets(1))
    first = session.request(ask(SVID_SECRET))
    assert sorted(names_in(session.request(ask(*BOTH, nonce=first.nonce)))) == sorted(BOTH)


def test_a_name_that_was_dropped_and_comes_back_is_answered() -> None:
    session = SdsSession(secrets(1))
    nonce = session.request(ask(*BOTH)).nonce
    assert session.request(ask(SVID_SECRET, nonce=nonce)) is None
    assert session.request(ask(*BOTH, nonce=nonce)) is not None


def test_an_unknown_name_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    assert SdsSession(secrets(1)).request(ask("passwords")) is None
    assert "passwords" in caplog.text


def test_other_kinds_of_resources_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        SdsSession(secrets(1)).request(discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/x"))


def test_too_many_names_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        SdsSession(secrets(1)).request(ask(*(str(number) for number in range(MAX_NAMES + 1))))
