"""A user's own Envoy, configured as for SPIRE, takes its secrets from the socket of the Workload API."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from harness import Envoy, run_envoy
from identity_mesh import application, cluster, http_listener, loopback
from workload_api_callers import BACKUP, REPORTS, workload_api

ME = f"unix:uid:{os.geteuid()}"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def sds(name: str) -> dict[str, Any]:
    source = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "spire_agent"}}],
    }
    return {"name": name, "sds_config": {"api_config_source": source, "resource_api_version": "V3"}}


def tls(kind: str, certificate: str, bundle: str, peer: str) -> dict[str, Any]:
    """The shape that SPIRE's documentation gives."""
    expected = {"san_type": "URI", "matcher": {"exact": peer}}
    context: dict[str, Any] = {
        "@type": f"{_TLS}.{kind}TlsContext",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [sds(certificate)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [expected]},
                "validation_context_sds_secret_config": sds(bundle),
            },
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        },
    }
    if kind == "Downstream":
        context["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def agent_cluster(socket: Path) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        **cluster("spire_agent", {"pipe": {"path": str(socket)}}),
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


@asynccontextmanager
async def envoys(directory: Path, socket: Path, bundle: str) -> AsyncIterator[tuple[Envoy, Envoy]]:
    """A server that shows `reports` and a client that shows `default`, who is `backup`."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(application())
        inbound = http_listener("inbound", "app")
        inbound["filter_chains"][0]["transport_socket"] = tls("Downstream", REPORTS, bundle, BACKUP)
        server = await stack.enter_async_context(
            run_envoy(
                {
                    "static_resources": {
                        "listeners": [inbound],
                        "clusters": [cluster("app", loopback(app)), agent_cluster(socket)],
                    }
                },
                directory=directory / "server",
            )
        )
        reports = cluster("reports", loopback(await server.listener_port("inbound")))
        reports["transport_socket"] = tls("Upstream", "default", bundle, REPORTS)
        client = await stack.enter_async_context(
            run_envoy(
                {
                    "static_resources": {
                        "listeners": [http_listener("outbound", "reports")],
                        "clusters": [reports, agent_cluster(socket)],
                    }
                },
                directory=directory / "client",
            )
        )
        yield server, client


@pytest.mark.parametrize("bundle", ["ROOTCA", "ALL", "spiffe://cluster.local"])
async def test_envoys_configured_as_for_spire_have_mutual_tls(tmp_path: Path, bundle: str) -> None:
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
    async with (
        workload_api(tmp_path) as api,
        api.identity(BACKUP, ME),
        api.identity(REPORTS, ME),
        envoys(tmp_path, api.server.path, bundle) as (_, client),
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{await client.listener_port('outbound')}/"
        async with asyncio.timeout(20), session.get(url) as response:
            told = await response.text()
            assert (response.status, f"URI={BACKUP}" in told) == (200, True), told
