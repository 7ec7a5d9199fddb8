"""The flags of `marline run` as a `WorkloadSpec`. What is wrong with them is a usage error."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.node.application import check_variables, parse_port, parse_upstream
from marline.node.workload import (
    ExecCheck,
    GrpcCheck,
    HttpCheck,
    ProbeSpec,
    TcpCheck,
    WorkloadSpec,
)

_MAX_PORT = 65535
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class WorkloadFlags:
    """What was given on the command line, as text."""

    service: str
    """"": as its program, if it has no ports."""
    command: tuple[str, ...]
    version: str = ""
    ports: tuple[str, ...] = ()
    namespace: str = "default"
    service_account: str = ""
    upstreams: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    readiness_http: str | None = None
    readiness_tcp: str | None = None
    readiness_grpc: str | None = None
    readiness_exec: str | None = None
    name: str = ""
    user: str = ""
    locality: str = ""
    weight: int = 0


def workload_spec(flags: WorkloadFlags) -> WorkloadSpec:
    """The workload that the flags describe. Raises `click.UsageError` with all faults."""
    faults = Faults()
    service = flags.service or _client_name(flags, faults)
    rules.dns_label(service, faults.at("--service"))
    rules.dns_label(flags.namespace, faults.at("--namespace"))
    account = flags.service_account or service
    rules.dns_subdomain(account, faults.at("--service-account"))
    if flags.name:
        rules.dns_subdomain(flags.name, faults.at("--name"))
    ports = tuple(parse_port(text, faults.at("--port")) for text in flags.ports)
    rules.named_once([port.name for port in ports], faults.at("--port"), "port")
    upstreams = tuple(parse_upstream(text, faults.at("--upstream")) for text in flags.upstreams)
    check_variables(upstreams, faults.at("--upstream"))
    labels = _pairs(flags.labels, faults.at("--label"))
    rules.labels({**labels, **({"version": flags.version} if flags.version else {})}, faults.at("--label"))
    if flags.user and os.geteuid() != 0:
        faults.at("--user").add("another user can be chosen by root only")
    spec = WorkloadSpec(
        service=service,
        command=flags.command,
        namespace=flags.namespace,
        name=flags.name,
        version=flags.version,
        service_account=account,
        labels=labels,
        ports=ports,
        upstreams=upstreams,
        environment=_pairs(flags.environment, faults.at("--env")),
        user=flags.user,
        readiness=_readiness(flags, faults),
        weight=flags.weight,
        locality=flags.locality,
        restart=False,
    )
    if faults.errors:
        raise click.UsageError("; ".join(str(error) for error in faults.errors))
    return spec


def _client_name(flags: WorkloadFlags, faults: Faults) -> str:
    """Who only calls others needs no name of its own: it is called as its program is."""
    if flags.ports:
        faults.at("--service").add("is needed with --port: the name by which others call it", Fault.REQUIRED)
    program = Path(flags.command[0]).name.lower()
    return re.sub(r"[^a-z0-9]+", "-", program).strip("-")[:_LONGEST_NAME].rstrip("-") or "client"


def _pairs(texts: tuple[str, ...], faults: Faults) -> dict[str, str]:
    """`KEY=VALUE`s as a mapping."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            faults.add(f"{text!r} is not KEY=VALUE")
        elif key in found:
            faults.add(f"{key!r} is given twice")
        found[key] = value
    return found


def _readiness(flags: WorkloadFlags, faults: Faults) -> ProbeSpec | None:
    given = {
        "--readiness-http": flags.readiness_http,
        "--readiness-tcp": flags.readiness_tcp,
        "--readiness-grpc": flags.readiness_grpc,
        "--readiness-exec": flags.readiness_exec,
    }
    said = [(name, text) for name, text in given.items() if text is not None]
    if not said:
        return None
    if len(said) > 1:
        faults.at(said[1][0]).add(f"stands instead of {said[0][0]}; give one of them")
    name, text = said[0]
    where = faults.at(name)
    match name:
        case "--readiness-http":
            port, slash, path = text.partition("/")
            if not slash:
                where.add(f"{text!r} is not [PORT]/PATH, such as /healthz or 9080/healthz")
            return ProbeSpec(http=HttpCheck(f"/{path}", _port(port, where) if port else 0))
        case "--readiness-tcp":
            return ProbeSpec(tcp=TcpCheck(_port(text, where)))
        case "--readiness-grpc":
            port, _, service = text.partition("/")
            return ProbeSpec(grpc=GrpcCheck(_port(port, where), service))
    return ProbeSpec(exec=ExecCheck(_words(text, where)))


def _port(text: str, faults: Faults) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PORT):
        faults.add(f"{text!r} is not a port from 1 to {_MAX_PORT}")
        return 0
    return int(text)


def _words(text: str, faults: Faults) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        faults.add(f"cannot be split into words: {error}")
        return (text,)
    if not words:
        faults.add("is empty; expected a command")
    return words
