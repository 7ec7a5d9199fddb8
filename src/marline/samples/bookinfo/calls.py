"""Calls from one program to another: where they go, and what of a request goes along with them."""

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_PORT: Final = 9080
PROPAGATED: Final = (
    # Of traces: W3C Trace Context, Zipkin's B3 and what collectors of vendors use.
    "x-request-id", "traceparent", "tracestate",
    "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "x-ot-span-context", "x-cloud-trace-context", "grpc-trace-bin", "sw8",
    "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority",
    # Of the user.
    "end-user", "user-agent", "cookie", "authorization", "jwt",
)  # fmt: skip
"""Headers that a service must hand on, so that traces stay whole and rules for one user reach all services
(istio.io, "Distributed Tracing Overview")."""


class CallFailed(Exception):
    """There was no answer in time, or none that can be read."""


def upstream(name: str) -> str:
    """The base URL of another service: `$<NAME>_URL`, else its name in the mesh. Raises ValueError."""
    variable = f"{name.upper()}_URL"
    url = os.environ.get(variable) or f"http://{name}:{_PORT}"
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{variable} is {url!r}; expected http://HOST:PORT")
    return url.rstrip("/")


def propagated(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a request's headers goes along with the calls made for it."""
    return {name: headers[name] for name in PROPAGATED if name in headers}


def get_json(url: str, headers: Mapping[str, str], timeout: float) -> tuple[int, Any]:
    """Status and JSON body of an answer. `timeout` in seconds is for each wait: connecting, and every part
    of the answer. Raises `CallFailed`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path, headers=dict(headers))
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed(f"{url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    try:
        return response.status, json.loads(content)
    except ValueError as error:
        if response.status == http.HTTPStatus.OK:
            raise CallFailed(f"{url}: the answer is not JSON") from error
        return response.status, None
