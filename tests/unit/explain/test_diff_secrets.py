"""What may not be shown of Envoy's resources is left out, wherever it stands."""

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from google.protobuf import text_format

from marline.explain.secrecy import NOT_SHOWN, shown


def test_keys_and_passwords_are_left_out() -> None:
    secret = secret_pb2.Secret(name="shop")
    secret.tls_certificate.certificate_chain.inline_bytes = b"for all"
    secret.tls_certificate.private_key.inline_bytes = b"for nobody"
    secret.tls_certificate.password.inline_string = "for nobody"
    text = text_format.MessageToString(shown(secret))
    assert "for all" in text and "for nobody" not in text and text.count(NOT_SHOWN) == 2
    assert secret.tls_certificate.private_key.inline_bytes == b"for nobody"


def test_also_within_other_messages() -> None:
    context = tls_pb2.UpstreamTlsContext(sni="shop.test")
    context.common_tls_context.tls_certificates.add().private_key.inline_string = "for nobody"
    cluster = cluster_pb2.Cluster(name="shop")
    cluster.transport_socket.typed_config.Pack(context)
    found = tls_pb2.UpstreamTlsContext()
    assert shown(cluster).transport_socket.typed_config.Unpack(found)  # type: ignore[attr-defined]
    assert found.sni == "shop.test"
    assert found.common_tls_context.tls_certificates[0].private_key.inline_string == NOT_SHOWN


def test_what_is_of_no_known_type_is_left_out() -> None:
    cluster = cluster_pb2.Cluster(name="shop")
    cluster.transport_socket.typed_config.type_url = "type.googleapis.com/nobody.knows.This"
    cluster.transport_socket.typed_config.value = b"for nobody"
    assert b"for nobody" not in shown(cluster).SerializeToString()
