"""Listeners of Sidecars that cannot be what they say at the proxies that have them."""

from collections.abc import Iterator
from typing import Final

from marline.analyze.findings import LISTENER_WITHOUT_EFFECT, Finding
from marline.api.networking.sidecar import SidecarSpec
from marline.api.resource import Resource
from marline.mesh.authentication import MtlsMode
from marline.mesh.model import Capture, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot

_NOTHING_CAPTURED: Final = "there is no capture at workloads such as {name}, which run in explicit mode"


def listeners_without_effect(snapshot: MeshSnapshot, proxies: tuple[Proxy, ...]) -> Iterator[Finding]:
    """Each place once, with the first workload for which it holds."""
    found: dict[tuple[Resource[SidecarSpec], str], Finding] = {}
    for proxy in proxies:
        if proxy.role is Role.GATEWAY:
            continue
        for workload in proxy.workloads:
            sidecar = snapshot.sidecar(workload.namespace, dict(workload.labels))
            if sidecar is not None:
                for path, message in _of_workload(snapshot, proxy, workload, sidecar.spec):
                    finding = Finding(LISTENER_WITHOUT_EFFECT, sidecar.ref, path, message)
                    found.setdefault((sidecar, path), finding)
    yield from found.values()


def _of_workload(
    snapshot: MeshSnapshot, proxy: Proxy, workload: Workload, spec: SidecarSpec
) -> Iterator[tuple[str, str]]:
    explicit = proxy.capture is Capture.EXPLICIT
    policy = snapshot.peer_policy(workload.namespace, dict(workload.labels))
    for index, listener in enumerate(spec.ingress):
        path, number = f"spec.ingress[{index}]", listener.port.number
        known = any(number in (port.app_port, port.listen) for port in workload.inbound)
        if explicit and listener.capture_mode == "IPTABLES":
            yield f"{path}.captureMode", _NOTHING_CAPTURED.format(name=workload.name)
        if explicit and listener.bind and known:
            message = f"{workload.name} is reached at its proxy's own address, whatever bind says"
            yield f"{path}.bind", message
        if explicit and not listener.default_endpoint and not known:
            message = f"{workload.name} serves no port {number}, so nobody knows where its application is"
            yield f"{path}.defaultEndpoint", message
        if listener.tls is not None and policy.for_port(number) is MtlsMode.STRICT:
            message = f"{workload.name} lets in nobody from outside the mesh: its mTLS mode is STRICT"
            yield f"{path}.tls", message
    for index, egress in enumerate(spec.egress):
        if explicit and egress.capture_mode == "IPTABLES":
            yield f"spec.egress[{index}].captureMode", _NOTHING_CAPTURED.format(name=workload.name)
