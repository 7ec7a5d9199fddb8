"""Which virtual host of a route table a request is for.

Envoy documentation, "config.route.v3.VirtualHost", `domains`: the exact name, else the longest `*.suffix`,
else the longest `prefix.*`, else `*`.
"""

from collections.abc import Iterable
from typing import Any, Final

_EXACT, _SUFFIX, _PREFIX, _ANY = 3, 2, 1, 0
ANY: Final = "*"


def host_for(hosts: Iterable[Any], authority: str, *, ignore_port: bool) -> tuple[Any, str] | None:
    """The virtual host, and the domain by which it was found; None if there is none."""
    name = authority.lower()
    if ignore_port:
        head, colon, port = name.rpartition(":")
        name = head if colon and port.isdigit() and not head.endswith(":") else name
    best: tuple[tuple[int, int], Any, str] | None = None
    for host in hosts:
        for domain in host.domains:
            rank = _rank(domain.lower(), name)
            if rank is not None and (best is None or rank > best[0]):
                best = rank, host, domain
    return (best[1], best[2]) if best is not None else None


def _rank(domain: str, name: str) -> tuple[int, int] | None:
    """How specific a domain is for a name; None if it is not for it. A `*` stands for one character at
    least."""
    if domain == name:
        return _EXACT, len(domain)
    if domain == ANY:
        return _ANY, 0
    fits = len(name) >= len(domain)
    if domain.startswith("*") and fits and name.endswith(domain[1:]):
        return _SUFFIX, len(domain)
    if domain.endswith("*") and fits and name.startswith(domain[:-1]):
        return _PREFIX, len(domain)
    return None
