"""What the question names: a destination and a request, as a user writes them."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from marline.explain.request import headers_of

HTTP, HTTPS, TCP = "http", "https", "tcp"
WELL_KNOWN: Final = {HTTP: 80, HTTPS: 443}


class MalformedTarget(ValueError):
    """Not a host, `host:port` or URL; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the source calls, and with what."""

    host: str
    port: int = 0
    """0: not said."""
    scheme: str = ""
    """`http`, `https` or `tcp`; "": not said."""
    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def authority(self) -> str | None:
        """The Host header, if the user says one."""
        return next((value for name, value in self.headers if name in ("host", ":authority")), None)

    @property
    def other_headers(self) -> tuple[tuple[str, str], ...]:
        return tuple(item for item in self.headers if item[0] not in ("host", ":authority"))

    @property
    def text(self) -> str:
        if self.scheme == TCP:
            return f"a connection to {self.host}:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port and self.port != WELL_KNOWN.get(self.scheme or HTTP) else ""
        return f"{self.method} {self.scheme or HTTP}://{host}{port}{self.path}"


def parse_target(
    destination: str, method: str, path: str | None, headers: tuple[tuple[str, str], ...]
) -> Target:
    """`host`, `host:port` or a URL. Raises `MalformedTarget`."""
    given = destination if "://" in destination else f"//{destination}"
    parts = urlsplit(given)
    if parts.scheme not in ("", HTTP, HTTPS, TCP):
        raise MalformedTarget(f"{destination!r}: the scheme is http, https or tcp")
    try:
        port, host = parts.port or 0, parts.hostname
    except ValueError as error:
        raise MalformedTarget(f"{destination!r}: {error}") from error
    if not host:
        raise MalformedTarget(f"{destination!r} names no host")
    said = parts.path + (f"?{parts.query}" if parts.query else "")
    if path is not None and said:
        raise MalformedTarget(f"the path is said twice, {said!r} and {path!r}")
    full = path or said or "/"
    if not full.startswith("/"):
        raise MalformedTarget(f"the path {full!r} does not begin with /")
    return Target(host, port, parts.scheme, method.upper(), full, headers_of(headers))


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
