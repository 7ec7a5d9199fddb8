"""The application file: services, commands, ports, probes and gateways, as one would write for Compose.

`parse` reads the text and names every fault with its line; `Application` is what the node agent runs.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field

from marline.api import rules
from marline.api.core import PortNumber
from marline.api.documents import Document, read_documents
from marline.api.errors import InvalidResource
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.scalars import Duration
from marline.api.shape import convert
from marline.node.application_gateways import GatewayItem, gateway_of
from marline.node.application_identities import IdentityItem, identity_of
from marline.node.workload import (
    ExecCheck,
    Frozen,
    GatewaySpec,
    GrpcCheck,
    HttpCheck,
    IdentitySpec,
    PortSpec,
    ProbeSpec,
    TcpCheck,
    UpstreamSpec,
    WorkloadSpec,
)

MAX_GRACE: Final = Duration(60)
"""The longest time that an application may have to end: `marline down` waits for all of them."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Scalar = str | int | float | bool
Count = Annotated[int, Meta(ge=0, le=1000)]
Threshold = Annotated[int, Meta(ge=1)]


class PlannedWorkload(Frozen, frozen=True):
    """One version of a service, and how many instances of it are wanted."""

    spec: WorkloadSpec
    replicas: int = 1


class Application(Frozen, frozen=True):
    """What one application file asks for."""

    name: str
    workloads: tuple[PlannedWorkload, ...] = ()
    gateways: tuple[GatewaySpec, ...] = ()
    identities: tuple[IdentitySpec, ...] = ()


class PortItem(Model, frozen=True):
    name: str
    port: PortNumber
    target_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    app_protocol: str = ""


class UpstreamItem(Model, frozen=True):
    host: str
    port: PortNumber
    env: str = ""


class HttpItem(Model, frozen=True):
    path: str = "/"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    headers: dict[str, str] = field(default_factory=dict)


class PortedItem(Model, frozen=True):
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    service: str = ""


class ExecItem(Model, frozen=True):
    command: str | tuple[str, ...]


class ProbeItem(Model, frozen=True):
    http: HttpItem | None = None
    tcp: PortedItem | None = None
    grpc: PortedItem | None = None
    exec: ExecItem | None = None
    initial_delay: Duration = Duration(0)
    period: Duration = Duration(10)
    timeout: Duration = Duration(1)
    success_threshold: Threshold = 1
    failure_threshold: Threshold = 3


class ProbesItem(Model, frozen=True):
    readiness: ProbeItem | None = None


class VersionItem(Model, frozen=True):
    """What differs for one version of a service."""

    command: str | tuple[str, ...] = ()
    replicas: Count = 1
    environment: dict[str, Scalar] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    weight: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


class ServiceItem(Model, frozen=True):
    namespace: str = ""
    service_account: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[PortItem | str, ...] = ()
    upstreams: tuple[UpstreamItem | str, ...] = ()
    probes: ProbesItem | None = None
    environment: dict[str, Scalar] = field(default_factory=dict)
    command: str | tuple[str, ...] = ()
    replicas: Count | None = None
    version: str = ""
    versions: dict[str, VersionItem] = field(default_factory=dict)
    working_directory: str = ""
    user: Scalar = ""
    locality: str = ""
    restart: bool = True
    stop_grace: Duration = Duration(10)


class ApplicationFile(Model, frozen=True):
    name: str = ""
    namespace: str = "default"
    services: dict[str, ServiceItem] = field(default_factory=dict)
    gateways: dict[str, GatewayItem] = field(default_factory=dict)
    identities: dict[str, IdentityItem] = field(default_factory=dict)


def parse(text: str, file: str = "", name: str = "application") -> Application:
    """The application that a file describes; `name` is used if it says none.

    Raises `InvalidResource` with all faults, located by line.
    """
    documents = read_documents(text, file)
    faults = Faults()
    if len(documents) > 1:
        faults.add(f"has {len(documents)} YAML documents; an application file is one")
    document = documents[0] if documents else Document({}, file, 1, {})
    made = _application(document.obj, name, faults)
    if made is None or faults.errors:
        raise document.locate(InvalidResource(f"application file {file}".rstrip(), tuple(faults.errors)))
    return made


def with_interpreter(application: Application, python: str) -> Application:
    """Commands of the form `python -m marline.…` with this Python: the samples are in Marline's own
    environment, and `python` may be any other one, or none."""
    workloads = tuple(
        msgspec.structs.replace(
            item, spec=msgspec.structs.replace(item.spec, command=(python, *item.spec.command[1:]))
        )
        if _runs_own_module(item.spec.command)
        else item
        for item in application.workloads
    )
    return msgspec.structs.replace(application, workloads=workloads)


def _runs_own_module(command: tuple[str, ...]) -> bool:
    match command:
        case ("python" | "python3", "-m", module, *_):
            return module.startswith("marline.")
    return False


def _application(obj: dict[str, Any], name: str, faults: Faults) -> Application | None:
    read = convert(obj, ApplicationFile, faults)
    if read is None:
        return None
    if not (read.services or read.gateways or read.identities):
        faults.add("names neither services nor gateways nor identities")
    planned: list[PlannedWorkload] = []
    for service, item in read.services.items():
        where = faults.at("services").key(service)
        rules.dns_label(service, where)
        planned += _service(service, item, read.namespace, where)
    gateways = [gateway_of(key, item, faults.at("gateways").key(key)) for key, item in read.gateways.items()]
    identities = [
        identity_of(key, item, read.namespace, faults.at("identities").key(key))
        for key, item in read.identities.items()
    ]
    chosen = read.name or name
    rules.dns_subdomain(chosen, faults.at("name"))
    return Application(chosen, tuple(planned), tuple(gateways), tuple(identities))


def _service(service: str, item: ServiceItem, namespace: str, faults: Faults) -> list[PlannedWorkload]:
    ports = tuple(_port(port, faults.at("ports").item(index)) for index, port in enumerate(item.ports))
    _check_ports(ports, faults.at("ports"))
    upstreams = tuple(_upstream(up, faults.at("upstreams").item(i)) for i, up in enumerate(item.upstreams))
    check_variables(upstreams, faults.at("upstreams"))
    _check_labels(item.labels, faults.at("labels"))
    _check_environment(item.environment, faults.at("environment"))
    if not 0 <= item.stop_grace <= MAX_GRACE:
        faults.at("stopGrace").add(f"{item.stop_grace} is not between 0s and {MAX_GRACE}")
    if item.versions and (item.version or item.replicas is not None):
        faults.at("versions").add("stands instead of version and replicas; give either")
    common = WorkloadSpec(
        service=service,
        command=(),
        namespace=item.namespace or namespace,
        service_account=item.service_account or service,
        ports=ports,
        upstreams=upstreams,
        working_directory=item.working_directory,
        user=str(item.user),
        readiness=_probe(item.probes, ports, faults.at("probes").at("readiness")),
        locality=item.locality,
        restart=item.restart,
        grace_seconds=float(item.stop_grace),
    )
    rules.dns_label(common.namespace, faults.at("namespace"))
    if item.service_account:
        rules.dns_subdomain(item.service_account, faults.at("serviceAccount"))
    only = VersionItem(replicas=1 if item.replicas is None else item.replicas)
    versions = item.versions or {item.version: only}
    made = []
    for version, one in versions.items():
        where = faults.at("versions").key(version) if item.versions else faults
        command = _command(one.command or item.command, where.at("command"))
        if not command:
            where.at("command").add("is required: what to run, as a list of words or one line")
        labels = {**item.labels, **one.labels}
        _check_labels(one.labels, where.at("labels"))
        rules.labels({"version": version}, where.at("labels"))
        _check_environment(one.environment, where.at("environment"))
        if version and "version" in labels:
            where.at("labels").key("version").add("is made of the version already; leave it out")
        environment = {key: _text(value) for key, value in {**item.environment, **one.environment}.items()}
        spec = msgspec.structs.replace(
            common,
            version=version,
            command=command,
            labels=labels,
            environment=environment,
            weight=one.weight,
        )
        made.append(PlannedWorkload(spec, one.replicas))
    return made


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_ports(ports: Sequence[PortSpec], faults: Faults) -> None:
    rules.named_once([port.name for port in ports], faults, "port")
    numbers = [_number(port.port, port) for port in ports]
    rules.named_once(numbers, faults, "port")
    if len(set(numbers)) == len(ports):
        # Envoy tells ports by where connections arrive, which under transparent capture is here.
        targets = [_number(port.target_port or port.port, port) for port in ports]
        rules.named_once(targets, faults, "target port")


def _number(number: int, port: PortSpec) -> str:
    """UDP has the same numbers for other ports."""
    return f"{number}/UDP" if port.takes_datagrams else str(number)


def _check_labels(labels: Mapping[str, str], faults: Faults) -> None:
    rules.labels(labels, faults)
    if "app" in labels:
        faults.key("app").add("is the service's name always; leave it out")


def _check_environment(variables: Mapping[str, Scalar], faults: Faults) -> None:
    """What execve(2) takes."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            faults.key(name).add(f"{name!r} is not the name of a variable")
        if "\0" in _text(value):
            faults.key(name).add("has a character of code 0, which no variable can have")


def _command(given: str | tuple[str, ...], faults: Faults) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(given)) if isinstance(given, str) else given
    except ValueError as error:
        faults.add(f"cannot be split into words: {error}")
        return (given,) if isinstance(given, str) else given
    if any("\0" in word for word in words):
        faults.add("has a character of code 0, which no argument can have")
    return words


def _port(item: PortItem | str, faults: Faults) -> PortSpec:
    if isinstance(item, str):
        return parse_port(item, faults)
    rules.dns_label(item.name, faults.at("name"))
    return PortSpec(item.name, item.port, item.target_port, item.app_protocol)


def parse_port(text: str, faults: Faults) -> PortSpec:
    """`name:port` or `name:port:target-port`."""
    name, *numbers = text.split(":")
    rules.dns_label(name, faults)
    if not 1 <= len(numbers) <= 2 or not all(_is_port(number) for number in numbers):
        faults.add(f"{text!r} is not NAME:PORT or NAME:PORT:TARGET, such as http:9080")
        return PortSpec(name, 1)
    return PortSpec(name, int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 0)


def parse_upstream(text: str, faults: Faults) -> UpstreamSpec:
    """`host:port`, or `NAME=host:port` for variables that begin with another name than the host's."""
    name, equals, place = text.rpartition("=")
    host, _, port = place.rpartition(":")
    if not host or not _is_port(port) or (equals and not _VARIABLE.fullmatch(name)):
        faults.add(f"{text!r} is not HOST:PORT, such as ratings:9080, or NAME=HOST:PORT")
        return UpstreamSpec(text, 1)
    rules.host(host, faults, wildcard=False)
    return UpstreamSpec(host, int(port), name)


def check_variables(upstreams: Sequence[UpstreamSpec], faults: Faults) -> None:
    """Each upstream is told to the application in variables of its own."""
    seen: set[str] = set()
    for index, upstream in enumerate(upstreams):
        if upstream.variable in seen:
            faults.item(index).add(
                f"another upstream is told in {upstream.variable}_URL already; give this one a name of its"
                f" own, as in {upstream.variable}_2={upstream.host}:{upstream.port}"
            )
        seen.add(upstream.variable)


def _upstream(item: UpstreamItem | str, faults: Faults) -> UpstreamSpec:
    if isinstance(item, str):
        return parse_upstream(item, faults)
    rules.host(item.host, faults.at("host"), wildcard=False)
    return UpstreamSpec(item.host, item.port, item.env)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535


def _probe(probes: ProbesItem | None, ports: Sequence[PortSpec], faults: Faults) -> ProbeSpec | None:
    item = probes.readiness if probes is not None else None
    if item is None:
        return None
    has_ports = any(not port.takes_datagrams for port in ports)
    if sum(check is not None for check in (item.http, item.tcp, item.grpc, item.exec)) != 1:
        faults.add("says one of http, tcp, grpc and exec")
    for kind, asked in (("http", item.http), ("tcp", item.tcp), ("grpc", item.grpc)):
        if asked is not None and not asked.port and not has_ports:
            faults.at(kind).at("port").add("is required, since the service has no ports for connections")
    for header, text in (item.http.headers if item.http else {}).items():
        rules.header_name(header, faults.at("http").at("headers").key(header))
        rules.header_value(text, faults.at("http").at("headers").key(header))
    command = _command(item.exec.command, faults.at("exec").at("command")) if item.exec else ()
    if item.exec and not command:
        faults.at("exec").at("command").add("is required: what to run, as a list of words or one line")
    for name, value in (("period", item.period), ("timeout", item.timeout)):
        if value <= 0:
            faults.at(name).add(f"{value} is not longer than nothing")
    if item.initial_delay < 0:
        faults.at("initialDelay").add(f"{item.initial_delay} is less than nothing")
    if item.tcp is not None and item.tcp.service:
        faults.at("tcp").at("service").add("belongs to a gRPC probe")
    return ProbeSpec(
        http=HttpCheck(item.http.path, item.http.port, item.http.headers) if item.http else None,
        tcp=TcpCheck(item.tcp.port) if item.tcp else None,
        grpc=GrpcCheck(item.grpc.port, item.grpc.service) if item.grpc else None,
        exec=ExecCheck(command) if item.exec else None,
        initial_delay=float(item.initial_delay),
        period=float(item.period),
        timeout=float(item.timeout),
        success_threshold=item.success_threshold,
        failure_threshold=item.failure_threshold,
    )
