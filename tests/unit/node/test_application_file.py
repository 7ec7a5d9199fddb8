"""Application files that are right: what each field becomes, and what stands for what is not said."""

import pytest

from marline.node.application import Application, PlannedWorkload, parse, with_interpreter
from marline.node.workload import (
    ExecCheck,
    GatewayPortSpec,
    GatewaySpec,
    GrpcCheck,
    HttpCheck,
    PortSpec,
    ProbeSpec,
    TcpCheck,
    UpstreamSpec,
    WorkloadSpec,
)

EVERYTHING = """
name: shop
namespace: store
services:
  reviews:
    namespace: books
    serviceAccount: bookinfo-reviews
    labels: {team: a}
    ports:
    - http:9080
    - grpc-api:9090:5000
    - {name: raw, port: 7000, targetPort: 7001, appProtocol: tcp}
    upstreams:
    - ratings:9080
    - OTHER=ratings.elsewhere:9080
    - {host: db.example, port: 5432, env: DB}
    probes:
      readiness:
        http: {path: /ready, port: 9080, headers: {x-probe: "1"}}
        initialDelay: 1s
        period: 500ms
        timeout: 2s
        successThreshold: 2
        failureThreshold: 4
    environment: {LEVEL: info, COUNT: 3, SHARE: 0.5, DEBUG: true}
    command: python -m reviews --title 'All of them'
    versions:
      v1: {replicas: 2, environment: {LEVEL: debug}, labels: {tier: old}, weight: 7}
      v2: {command: [python, v2.py]}
    workingDirectory: reviews
    user: nobody
    locality: eu/one/a
    restart: false
    stopGrace: 3s
gateways:
  ingress:
    namespace: edge
    bind: 192.0.2.1
    serviceAccount: door
    labels: {zone: dmz}
    ports: [{port: 80, listen: 8080}, {port: 443}]
"""


def only(text: str) -> WorkloadSpec:
    """The one workload of a file."""
    (planned,) = parse(text).workloads
    return planned.spec


def test_every_field_arrives() -> None:
    application = parse(EVERYTHING)
    first, second = application.workloads
    assert (application.name, first.replicas, second.replicas) == ("shop", 2, 1)
    assert first.spec == WorkloadSpec(
        service="reviews",
        command=("python", "-m", "reviews", "--title", "All of them"),
        namespace="books",
        version="v1",
        service_account="bookinfo-reviews",
        labels={"team": "a", "tier": "old"},
        ports=(
            PortSpec("http", 9080),
            PortSpec("grpc-api", 9090, 5000),
            PortSpec("raw", 7000, 7001, "tcp"),
        ),
        upstreams=(
            UpstreamSpec("ratings", 9080),
            UpstreamSpec("ratings.elsewhere", 9080, "OTHER"),
            UpstreamSpec("db.example", 5432, "DB"),
        ),
        environment={"LEVEL": "debug", "COUNT": "3", "SHARE": "0.5", "DEBUG": "true"},
        working_directory="reviews",
        user="nobody",
        readiness=ProbeSpec(
            http=HttpCheck("/ready", 9080, {"x-probe": "1"}),
            initial_delay=1.0,
            period=0.5,
            timeout=2.0,
            success_threshold=2,
            failure_threshold=4,
        ),
        weight=7,
        locality="eu/one/a",
        restart=False,
        grace_seconds=3.0,
    )
    assert (second.spec.version, second.spec.command) == ("v2", ("python", "v2.py"))
    assert second.spec.environment["LEVEL"] == "info"
    ports = (GatewayPortSpec(80, 8080), GatewayPortSpec(443))
    assert application.gateways == (
        GatewaySpec("ingress", ports, "edge", "192.0.2.1", "door", {"zone": "dmz"}),
    )


def test_what_is_not_said_has_a_default() -> None:
    spec = only("services: {web: {command: serve}}")
    assert spec == WorkloadSpec(service="web", command=("serve",), service_account="web")
    assert (spec.namespace, spec.grace_seconds, spec.restart) == ("default", 10.0, True)


def test_the_files_name_stands_for_a_missing_one() -> None:
    assert parse("services: {web: {command: serve}}", "shop.yaml", "shop").name == "shop"


def test_the_applications_namespace_is_its_services() -> None:
    assert only("namespace: store\nservices: {web: {command: serve}}").namespace == "store"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("serve --port 80", ("serve", "--port", "80")),
        ("serve 'a b' \"c d\" e\\ f", ("serve", "a b", "c d", "e f")),
        ('["serve", "a b; rm -rf /"]', ("serve", "a b; rm -rf /")),
        ("serve > file", ("serve", ">", "file")),
    ],
)
def test_a_command_is_a_list_of_words_or_a_line_without_a_shell(command: str, words: tuple[str, ...]) -> None:
    assert only(f"services: {{web: {{command: {command}}}}}").command == words


@pytest.mark.parametrize(
    ("probe", "spec"),
    [
        ("http: {}", ProbeSpec(http=HttpCheck())),
        ("tcp: {port: 80}", ProbeSpec(tcp=TcpCheck(80))),
        ("grpc: {service: shop.Cart}", ProbeSpec(grpc=GrpcCheck(0, "shop.Cart"))),
        ("exec: {command: test -f 'a b'}", ProbeSpec(exec=ExecCheck(("test", "-f", "a b")))),
        ("exec: {command: [test, -f, a b]}", ProbeSpec(exec=ExecCheck(("test", "-f", "a b")))),
    ],
)
def test_a_probe_is_one_of_four(probe: str, spec: ProbeSpec) -> None:
    text = f"services: {{web: {{command: serve, ports: [http:80], probes: {{readiness: {{{probe}}}}}}}}}"
    assert only(text).readiness == spec


def test_no_instances_are_wanted_of_zero_replicas() -> None:
    assert parse("services: {web: {command: serve, replicas: 0}}").workloads[0].replicas == 0


@pytest.mark.parametrize(
    ("host", "variable"),
    [("ratings", "RATINGS"), ("my-db.prod", "MY_DB"), ("*.example.com", "_"), ("10.0.0.1", "10")],
)
def test_an_upstreams_variables_begin_with_its_first_label(host: str, variable: str) -> None:
    assert UpstreamSpec(host, 80).variable == variable
    assert UpstreamSpec(host, 80, "mine").variable == "MINE"


def test_marlines_own_modules_run_with_its_interpreter() -> None:
    def commands(*given: tuple[str, ...]) -> list[tuple[str, ...]]:
        planned = tuple(PlannedWorkload(WorkloadSpec("web", command)) for command in given)
        made = with_interpreter(Application("shop", planned), "/venv/bin/python")
        return [item.spec.command for item in made.workloads]

    own, others = ("python3", "-m", "marline.samples.bookinfo", "x"), ("python3", "-m", "http.server")
    assert commands(own, others) == [("/venv/bin/python", *own[1:]), others]
