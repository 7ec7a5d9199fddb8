"""TLS settings at one end that do not fit the other, and certificates that cannot be used."""

from collections.abc import Iterator
from typing import Any

from marline.analyze.findings import (
    BAD_CREDENTIAL,
    MTLS_CONFLICT,
    NO_VERIFICATION,
    NO_VERIFICATION_AT_PORT,
    Finding,
)
from marline.analyze.names import destination_rules, gateways, services_named
from marline.api.networking.destination_rule import ClientTLSSettings, DestinationRuleSpec
from marline.api.resource import Resource
from marline.compile.gateway_tls import certificate_fault
from marline.mesh.authentication import MtlsMode, numbers_of
from marline.mesh.model import Endpoint, Port, Service
from marline.mesh.snapshot import MeshSnapshot


def _settings(spec: DestinationRuleSpec) -> Iterator[tuple[str, str, int, ClientTLSSettings]]:
    """The field, the subset, the port (0: all) and the settings of each `tls` of a rule."""
    policies = [("spec.trafficPolicy", "", spec.traffic_policy)]
    policies += [
        (f"spec.subsets[{index}].trafficPolicy", subset.name, subset.traffic_policy)
        for index, subset in enumerate(spec.subsets)
    ]
    for path, subset_name, policy in policies:
        if policy is None:
            continue
        if policy.tls is not None:
            yield f"{path}.tls", subset_name, 0, policy.tls
        for index, item in enumerate(policy.port_level_settings):
            if item.tls is not None:
                number = item.port.number if item.port is not None else 0
                yield f"{path}.portLevelSettings[{index}].tls", subset_name, number, item.tls


def unverified_servers(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in destination_rules(snapshot):
        for path, _, port, tls in _settings(item.spec):
            if tls.mode in ("SIMPLE", "MUTUAL") and tls.insecure_skip_verify:
                message = f"whoever answers for {item.spec.host} is believed"
                code = NO_VERIFICATION_AT_PORT if port else NO_VERIFICATION
                yield Finding(code, item.ref, f"{path}.insecureSkipVerify", message)


def conflicting_modes(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """A DestinationRule that speaks plain text to who demands mTLS, or mTLS to who has none."""
    for item in destination_rules(snapshot):
        for path, subset, port, tls in _settings(item.spec):
            for service in services_named(snapshot, item.spec.host, item.namespace):
                message = _conflict(snapshot, item, service, subset, port, tls.mode)
                if message:
                    yield Finding(MTLS_CONFLICT, item.ref, f"{path}.mode", message)
                    break


def _conflict(
    snapshot: MeshSnapshot, item: Resource[Any], service: Service, subset: str, port: int, mode: str
) -> str:
    labels: dict[str, str] = next((each.labels for each in item.spec.subsets if each.name == subset), {})
    ports = {each.name: each for each in service.ports if port in (0, each.number)}
    for endpoint in snapshot.all_endpoints(service):
        if endpoint.service_port not in ports or not labels.items() <= dict(endpoint.labels).items():
            continue
        accepted = _accepted(snapshot, endpoint, ports[endpoint.service_port])
        if mode == "DISABLE" and accepted is MtlsMode.STRICT:
            return f"{endpoint.workload or endpoint.address} accepts mTLS only"
        if (
            mode == "ISTIO_MUTUAL"
            and accepted in (None, MtlsMode.DISABLE)
            and not _is_edge(snapshot, endpoint)
        ):
            return f"{endpoint.workload or endpoint.address} does not speak mTLS"
    return ""


def _accepted(snapshot: MeshSnapshot, endpoint: Endpoint, port: Port) -> MtlsMode | None:
    """None: the endpoint is behind no proxy of the mesh."""
    if not endpoint.mtls:
        return None
    policy = snapshot.peer_policy(endpoint.namespace, dict(endpoint.labels))
    return policy.for_port(endpoint.port, *numbers_of(port))


def _is_edge(snapshot: MeshSnapshot, endpoint: Endpoint) -> bool:
    """Is it a gateway that speaks mTLS with the mesh, as egress gateways do? Its Gateways say so."""
    labels = dict(endpoint.labels).items()
    return any(
        server.tls is not None and server.tls.mode == "ISTIO_MUTUAL"
        for item in gateways(snapshot)
        if item.spec.selector.items() <= labels
        for server in item.spec.servers
    )


def unusable_credentials(snapshot: MeshSnapshot) -> Iterator[Finding]:
    secrets: dict[str, list[Resource[Any]]] = {}
    for secret in snapshot.resources("", "Secret"):
        secrets.setdefault(secret.name, []).append(secret)
    for item in gateways(snapshot):
        for index, server in enumerate(item.spec.servers):
            name = server.tls.credential_name.rpartition("/")[2] if server.tls is not None else ""
            found = secrets.get(name, [])
            faults = [certificate_fault(secret) for secret in found]
            if found and all(faults):
                path = f"spec.servers[{index}].tls.credentialName"
                yield Finding(BAD_CREDENTIAL, item.ref, path, faults[0])
