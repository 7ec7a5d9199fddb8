"""Everything that takes bytes from outside, as functions that must end well: whatever is given, they answer
or raise one of the errors that they document. Anything else is a finding.

`test_hostile_bytes.py` gives each a little of everything in every test run; `run.py` searches longer, guided
by coverage (`make fuzz`).
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.ratelimit.v3 import rls_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from marline.api import decode
from marline.api.documents import read_documents
from marline.api.errors import InvalidResource
from marline.api.security.jwks import MalformedKeys, read_keys
from marline.identity.bundle_document import TrustBundle, read_bundle, write_bundle
from marline.identity.ca import Authority
from marline.identity.certificates import Validity, root_certificate
from marline.identity.endpoint import SignEndpoint, SignRefused
from marline.identity.errors import (
    InvalidBundle,
    InvalidSelector,
    InvalidSpiffeId,
    InvalidToken,
    SignFailed,
)
from marline.identity.grpc_wire import GrpcConnection
from marline.identity.jwt_svid import sign, verify
from marline.identity.sds_session import InvalidRequest, SdsSession
from marline.identity.selectors import parse_selector
from marline.identity.spiffe import parse as parse_spiffe_id
from marline.identity.svid import make_key
from marline.identity.trust_endpoint import TrustBundles
from marline.identity.unix_grpc import Reply
from marline.identity.workload_api import SECURITY_HEADER, SERVICE, Entitlement, open_call
from marline.identity.workload_messages import ValidateJWTSVIDRequest
from marline.mesh.proxy import MalformedProxy
from marline.node import application, dns_codec
from marline.ratelimit.server import answer, question
from marline.store.embedded.http import bodies, protobuf
from marline.store.interface import StoreError
from marline.store.patch import BadPatch, Inapplicable, json_patch, merge_patch, strategic_merge_patch
from marline.store.selectors import FieldSelector, LabelSelector
from marline.xds import messages

NOW: Final = 1_790_000_000.0


@dataclass(frozen=True)
class Target:
    """`run`: what is given the bytes. `expected`: the errors that are an answer."""

    run: Callable[[bytes], object]
    expected: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = field(default=(b"",))
    """Good inputs, from which bad ones are made."""


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


@functools.cache
def _signer() -> SignEndpoint:
    key = make_key()
    root = root_certificate(key, "cluster.local", Validity(NOW - 86400, NOW + 86400))
    return SignEndpoint(Authority(root, key, (), (root,)), "cluster.local")


def _sign(data: bytes) -> None:
    body = {"csr": _text(data), "spiffeId": "spiffe://cluster.local/ns/default/sa/web"}
    _signer().handle(body, lambda _: None, NOW)


def _sign_der(data: bytes) -> None:
    """The same behind an encoding that no mutation gets through."""
    lines = base64.encodebytes(data).decode()
    _sign(f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n".encode())


def _sign_body(data: bytes) -> None:
    _signer().handle(bodies.decode_json(data), lambda _: None, NOW)


def _resources(data: bytes) -> None:
    for document in read_documents(_text(data)):
        decode.decode(document.obj)
        decode.warnings(document.obj)


def _patch(data: bytes) -> None:
    """Two JSON values: a document and what is to be done with it."""
    given = bodies.decode_json(data)
    if isinstance(given, list) and len(given) == 2:
        for apply in (json_patch, merge_patch, _strategic):
            try:
                apply(*given)
            except (BadPatch, Inapplicable):
                continue


def _strategic(target: Any, patch: Any) -> Any:
    return strategic_merge_patch(target, patch, {})


def _grpc(data: bytes) -> None:
    connection = GrpcConnection()
    for start in range(0, len(data), 97):
        connection.receive(data[start : start + 97])
    connection.outgoing()


def _workload_api(data: bytes) -> None:
    """Whatever is asked of each method by a process that has an identity."""
    bundles = TrustBundles(TrustBundle("cluster.local"))
    may = Entitlement((parse_spiffe_id("spiffe://cluster.local/ns/a/sa/b"),), (), bundles)
    for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles", "ValidateJWTSVID"):
        opened = open_call(f"{SERVICE}{method}", {SECURITY_HEADER: "true"}, lambda: may, _no_token)
        if not isinstance(opened, Reply):
            opened.received(data)


async def _no_token(spiffe_id: str, audience: tuple[str, ...]) -> str:
    raise SignFailed(f"nobody asks for {spiffe_id} here, for {audience}")


def _sds(data: bytes) -> None:
    SdsSession().request(discovery_pb2.DiscoveryRequest.FromString(data))


def _ads(data: bytes) -> None:
    message = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
    messages.decode(message)
    messages.proxy_of(message.node)


def _limits(data: bytes) -> None:
    request = rls_pb2.RateLimitRequest.FromString(data)
    asked = [question(item, request.hits_addend or 1, NOW) for item in request.descriptors]
    answer(asked, [1 for item in asked if item is not None], NOW)


def _dns(data: bytes) -> None:
    asked = dns_codec.parse(data)
    dns_codec.answer(asked, ("10.0.0.1",), 30)
    dns_codec.failure(asked)


def _csr_seed() -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/x")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(names, critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def _node() -> base_pb2.Node:
    described = {
        "MARLINE": {"role": "sidecar", "capture": "explicit", "workloads": [{"namespace": "a", "name": "b"}]}
    }
    made = base_pb2.Node(id="sidecar~a~b")
    json_format.ParseDict(described, made.metadata)
    return made


@functools.cache
def _token_key() -> ec.EllipticCurvePrivateKey:
    return make_key()


def _token() -> str:
    spiffe_id = parse_spiffe_id("spiffe://cluster.local/ns/a/sa/b")
    return sign(_token_key(), "a", spiffe_id, ["a"], NOW, NOW + 60)


def _bundle() -> bytes:
    root = _signer().authority.bundle_pem
    return write_bundle(TrustBundle("cluster.local", root, sequence=1, refresh_hint=60)).encode()


_RESOURCES: Final = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, labels: {app: reviews}}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {regex: "/a.*"}, headers: {user: {exact: jason}}}]
    fault: {delay: {fixedDelay: 2.5s, percentage: {value: 10}}}
    route: [{destination: {host: reviews, subset: v2, port: {number: 9080}}, weight: 100}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web}
spec:
  rules:
  - from: [{source: {principals: ["cluster.local/ns/*"], ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {paths: ["/a/{*}/b"], methods: [GET]}}]
    when: [{key: "request.headers[x]", values: [a]}]
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mark}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    patch:
      operation: ADD
      value:
        name: envoy.filters.http.cors
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}], selector: {app: web}}
"""
_APPLICATION: Final = """
services:
  web:
    command: python -m web
    ports: [http:80:8080]
    upstreams: [CART=cart:80]
    probes: {readiness: {http: {path: /}, period: 5s}}
"""
_POINT: Final = {
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
_KEYS: Final = {
    "keys": [
        {"kty": "EC", "crv": "P-256", "kid": "a", **_POINT},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]
}
_NAMED: Final = [{"name": "x"}]
_PATCHES: Final = (
    [{"a": [1, 2]}, [{"op": "move", "from": "/a/0", "path": "/a/-"}, {"op": "remove", "path": "/a"}]],
    [{"a": {"b": 1}}, {"a": {"b": None, "$patch": "replace"}}],
    [{"a": _NAMED}, {"a": [{"name": "x", "$patch": "delete"}], "$setElementOrder/a": _NAMED}],
)
_GRPC: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_DNS: Final = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07reviews\x07default\x00\x00\x01\x00\x01"
_PROTOBUF: Final = b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x0c\n\n\n\x04demo\x12\x00\x1a\x00\x1a\x00"\x00'


def targets() -> Mapping[str, Target]:
    csr = _csr_seed()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    asked = {"csr": csr.public_bytes(pem).decode(), "spiffeId": "spiffe://cluster.local/ns/a/sa/b"}
    sds = discovery_pb2.DiscoveryRequest(resource_names=["default", "ROOTCA"], node=_node())
    ads = discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=["a"], node=_node())
    limits = rls_pb2.RateLimitRequest(domain="marline")
    limits.descriptors.add().entries.add(key="policy", value="1/2/minute")
    return {
        "sign-pem": Target(_sign, (SignRefused,), (csr.public_bytes(pem),)),
        "sign-der": Target(_sign_der, (SignRefused,), (csr.public_bytes(der),)),
        "sign-body": Target(_sign_body, (SignRefused, StoreError), (json.dumps(asked).encode(),)),
        "token": Target(
            lambda data: verify(_text(data), {"a": _token_key().public_key()}, "a", NOW),
            (InvalidToken,),
            (_token().encode(),),
        ),
        "bundle": Target(
            lambda data: read_bundle("cluster.local", data),
            (InvalidBundle,),
            (json.dumps({"keys": [{**key, "use": "jwt-svid"} for key in _KEYS["keys"]]}).encode(), _bundle()),
        ),
        "selector": Target(
            lambda data: parse_selector(_text(data)), (InvalidSelector,), (b"unix:path:/usr/bin/backup",)
        ),
        "workload-api": Target(
            _workload_api,
            (),
            (b"", ValidateJWTSVIDRequest(audience="a", svid=_token()).SerializeToString()),
        ),
        "spiffe-id": Target(
            lambda data: parse_spiffe_id(_text(data)), (InvalidSpiffeId,), (b"spiffe://cluster.local/ns/a/sa/b",)
        ),
        "resources": Target(
            _resources, (InvalidResource,), tuple(item.encode() for item in _RESOURCES.split("---\n"))
        ),
        "json-resources": Target(
            lambda data: decode.decode(_object(bodies.decode_json(data))),
            (InvalidResource, StoreError),
            tuple(json.dumps(item).encode() for item in yaml.safe_load_all(_RESOURCES)),
        ),
        "application": Target(
            lambda data: application.parse(_text(data)), (InvalidResource,), (_APPLICATION.encode(),)
        ),
        "keys": Target(read_keys, (MalformedKeys,), (json.dumps(_KEYS).encode(),)),
        "patches": Target(_patch, (StoreError,), tuple(map(msgspec.json.encode, _PATCHES))),
        "protobuf": Target(protobuf.decode, (StoreError,), (_PROTOBUF,)),
        "label-selector": Target(
            lambda data: LabelSelector.parse(_text(data)), (ValueError,), (b"app in (a, b),!c,d!=e,f",)
        ),
        "field-selector": Target(
            lambda data: FieldSelector.parse(_text(data), "", "Service"),
            (ValueError,),
            (b"metadata.name=a,metadata.namespace!=b",),
        ),
        "grpc": Target(_grpc, (), (_GRPC,)),
        "sds": Target(_sds, (InvalidRequest, DecodeError), (sds.SerializeToString(),)),
        "ads": Target(_ads, (MalformedProxy, DecodeError), (ads.SerializeToString(),)),
        "limits": Target(_limits, (DecodeError,), (limits.SerializeToString(),)),
        "dns": Target(_dns, (dns_codec.NotAQuery,), (_DNS,)),
    }  # fmt: skip


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
