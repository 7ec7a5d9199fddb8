"""The names by which a workload may call a service: the domains of its virtual host."""

import ipaddress

from marline.mesh.model import Service


def short_names(hostname: str, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """The abbreviations of a Kubernetes service name that resolve in a namespace, as its DNS search
    path has it: `reviews`, `reviews.default`, `reviews.default.svc`.

    From another namespace `reviews` alone means something else.
    """
    suffix = f".svc.{cluster_domain}"
    if not hostname.endswith(suffix):
        return ()
    qualified = hostname.removesuffix(suffix)
    name, _, own_namespace = qualified.rpartition(".")
    if not name or "." in name or name == "*":
        return ()
    names = (qualified, f"{qualified}.svc")
    return (name, *names) if own_namespace == namespace else names


def with_port(name: str, port: int) -> str:
    return f"{name}:{port}"


def bracketed(address: str) -> str:
    """An IP address as a `Host` header has it."""
    return f"[{address}]" if ":" in address else address


def domains(
    service: Service, names: tuple[str, ...], addresses: tuple[str, ...], port: int, *, bare: bool
) -> tuple[str, ...]:
    """Every `Host` header that means this service on this port.

    `bare`: the name without port means this port too. So it is behind a listener of this port; behind
    a proxy listener, which sees requests for all ports, only port 80 may be left out.
    """
    heads = [service.hostname, *names]
    if service.headless and not service.hostname.startswith("*"):
        heads.append(f"*.{service.hostname}")
    heads += [bracketed(address) for address in addresses if _is_single(address)]
    found: dict[str, None] = {}
    for head in heads:
        if bare:
            found[head] = None
        found[with_port(head, port)] = None
    return tuple(found)


def _is_single(address: str) -> bool:
    """ServiceEntries may have CIDR blocks for addresses; those are no names."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
