"""The mesh's own identities at a gateway: ISTIO_MUTUAL ends the mesh's mTLS there, AUTO_PASSTHROUGH
forwards it to the service that it is for."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from ads_mesh import ads_envoy
from cryptography import x509
from edge_certificates import Authority
from edge_mesh import (
    INGRESS_ID,
    Edge,
    Refused,
    app,
    ask,
    edge,
    eventually,
    gateway,
    https_server,
    route,
    tcp_route,
    trusting,
)
from routing_envoy import backend
from static_mesh import free_port

from marline.mesh.model import Capture, InboundPort, Protocol, Proxy, Role, Workload

HOST = "shop.example"
FRIEND = "spiffe://cluster.local/ns/default/sa/friend"
FOE = "spiffe://cluster.local/ns/default/sa/foe"
REVIEWS = "reviews.default.svc.cluster.local"


def identity_of(certificate: bytes) -> list[str]:
    names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


@pytest.mark.proves("networking.ServerTLSSettings.mode")
async def test_istio_mutual_ends_mtls_with_the_gateways_identity_and_says_who_called() -> None:
    async with backend("shop") as shop:
        text = (
            app("shop", shop.port) + gateway(https_server(HOST, "mode: ISTIO_MUTUAL")) + route(HOST, "shop")
        )
        async with edge(text, 443) as made:
            answer = await ask(made[443], HOST, made.member(FRIEND))
            assert answer.backend == "shop"
            assert identity_of(answer.certificate) == [INGRESS_ID]
            assert f"URI={FRIEND}" in answer.body["headers"]["x-forwarded-client-cert"]
            stranger = trusting(made.authority.bundle_pem.encode(), Authority("stranger").issue(FRIEND))
            stranger.check_hostname = False
            nobody = trusting(made.authority.bundle_pem.encode())
            nobody.check_hostname = False
            for refused in (stranger, nobody):
                with pytest.raises(Refused):
                    await ask(made[443], HOST, refused)


@pytest.mark.proves("networking.ServerTLSSettings.subjectAltNames")
async def test_istio_mutual_may_be_for_some_identities_only() -> None:
    tls = f'mode: ISTIO_MUTUAL, subjectAltNames: ["{FRIEND}"]'
    async with backend("shop") as shop:
        text = app("shop", shop.port) + gateway(https_server(HOST, tls)) + route(HOST, "shop")
        async with edge(text, 443) as made:
            assert (await ask(made[443], HOST, made.member(FRIEND))).status == 200
            with pytest.raises(Refused):
                await ask(made[443], HOST, made.member(FOE))


@pytest.mark.proves("networking.ServerTLSSettings.mode", "networking.ServerPort.protocol")
async def test_with_protocol_tls_what_istio_mutual_has_decrypted_is_forwarded_as_bytes() -> None:
    server = "  - {port: {number: 9443, name: tls, protocol: TLS}, hosts: ['*'], tls: {mode: ISTIO_MUTUAL}}\n"
    async with backend("db") as db:
        text = app("db", db.port, protocol="tcp") + gateway(server) + tcp_route("db", port=9443)
        async with edge(text, 9443) as made:
            answer = await ask(made[9443], "any.example", made.member(FRIEND))
            # A proxy that read HTTP would have added headers.
            assert (answer.backend, "x-request-id" in answer.body["headers"]) == ("db", False)


PASSING = """
  - port: {number: 15443, name: tls, protocol: TLS}
    hosts: [%s]
    tls: {mode: AUTO_PASSTHROUGH}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.9, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""
ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-%(version)s}
spec: {address: 127.0.0.1, serviceAccount: reviews, ports: {http: %(port)d},
  labels: {app: reviews, version: %(version)s, security.istio.io/tlsMode: istio}}
"""


@asynccontextmanager
async def reviews(made: Edge, *versions: str) -> AsyncIterator[None]:
    """Workloads of `reviews` with sidecars, and one without, which must never be reached."""
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(backend("plain"))
        text = (ENTRY % {"version": "plain", "port": plain.port}).replace("tlsMode: istio", "tlsMode: none")
        for version in versions:
            served = await stack.enter_async_context(backend(version))
            listen = free_port()
            inbound = (InboundPort("http", listen, "127.0.0.1", served.port, Protocol.HTTP),)
            workload = Workload(
                "default", f"reviews-{version}", "reviews", (("app", "reviews"),), inbound=inbound
            )
            proxy = Proxy(f"sidecar~{version}", Role.SIDECAR, Capture.EXPLICIT, (workload,))
            identity = "spiffe://cluster.local/ns/default/sa/reviews"
            envoy = ads_envoy(made.plane.directory, proxy, identity, made.authority)
            await stack.enter_async_context(envoy)
            text += ENTRY % {"version": version, "port": listen}
        await made.put(text)
        yield


def sni(subset: str, host: str = REVIEWS, suffix: str = ".mesh.marline") -> str:
    return f"outbound_.9080_.{subset}_.{host}{suffix}"


async def called(made: Edge, name: str, client: ssl.SSLContext) -> str:
    return (await ask(made[15443], "reviews:9080", client, sni=name)).backend


@pytest.mark.proves("networking.ServerTLSSettings.mode")
async def test_auto_passthrough_forwards_to_the_service_and_subset_that_the_sni_names() -> None:
    async with (
        edge(SERVICE + gateway(PASSING % '"*.local"'), 15443) as made,
        reviews(made, "v1", "v2"),
    ):
        client = made.member(FRIEND)
        for version in ("v1", "v2"):

            async def answer(version: str = version) -> str:
                return await called(made, sni(version), client)

            await eventually(answer, version)
        backends = {await called(made, sni(""), client) for _ in range(20)}
        assert backends == {"v1", "v2"}
        answered = await ask(made[15443], "reviews:9080", client, sni=sni("v1"))
        assert identity_of(answered.certificate) == ["spiffe://cluster.local/ns/default/sa/reviews"]
        assert f"URI={FRIEND}" in answered.body["headers"]["x-forwarded-client-cert"]


@pytest.mark.proves("networking.Server.hosts")
async def test_auto_passthrough_reaches_nothing_but_mtls_of_the_hosts_that_the_server_names() -> None:
    others = PASSING % '"*.other.svc.cluster.local", other/*, ./x.example'
    async with (
        edge(SERVICE + gateway(others), 15443) as elsewhere,
        reviews(elsewhere, "v1"),
    ):
        with pytest.raises(Refused):
            await called(elsewhere, sni("v1"), elsewhere.member(FRIEND))
    async with (
        edge(SERVICE + gateway(PASSING % REVIEWS), 15443) as made,
        reviews(made, "v1"),
    ):
        client = made.member(FRIEND)

        async def answer() -> str:
            return await called(made, sni("v1"), client)

        await eventually(answer, "v1")
        wrong = (sni("v3"), sni("v1", suffix=""), f"outbound|9080|v1|{REVIEWS}", sni("v1", "x.default"))
        for name in wrong:
            with pytest.raises(Refused):
                await called(made, name, client)
        nobody = trusting(made.authority.bundle_pem.encode())
        nobody.check_hostname = False
        with pytest.raises(Refused):
            await called(made, sni("v1"), nobody)
