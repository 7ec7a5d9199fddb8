"""The flags of `marline run`, and what its exit code is."""

import os
import signal

import click
import pytest

from marline.cli.run import announcement, exit_code
from marline.cli.workload_flags import WorkloadFlags, workload_spec
from marline.node.workload import ExecCheck, GrpcCheck, HttpCheck, PortSpec, TcpCheck, WorkloadStatus


def flags(**given: object) -> WorkloadFlags:
    return WorkloadFlags(**{"service": "reviews", "command": ("sleep", "1"), **given})  # type: ignore[arg-type]


def test_flags_become_a_workload() -> None:
    spec = workload_spec(
        flags(
            version="v2",
            ports=("http:9080", "grpc-api:7070:7071"),
            upstreams=("ratings:9080",),
            labels=("team=a",),
            environment=("DEBUG=1", "URL=http://x/?a=b"),
            namespace="shop",
        )
    )
    assert spec.ports == (PortSpec("http", 9080), PortSpec("grpc-api", 7070, 7071))
    assert spec.upstreams[0].variable == "RATINGS"
    assert (spec.service, spec.version, spec.namespace) == ("reviews", "v2", "shop")
    assert spec.environment == {"DEBUG": "1", "URL": "http://x/?a=b"}
    assert spec.labels == {"team": "a"}


def test_who_only_calls_others_is_called_as_its_program() -> None:
    assert workload_spec(flags(service="", command=("/usr/bin/curl", "-s"))).service == "curl"
    assert workload_spec(flags(service="", command=("./My_Load.sh",))).service == "my-load-sh"
    with pytest.raises(click.UsageError, match="--service: is needed with --port"):
        workload_spec(flags(service="", ports=("http:9080",)))


def test_its_identity_is_the_services_unless_said_otherwise() -> None:
    assert workload_spec(flags()).service_account == "reviews"
    assert workload_spec(flags(service_account="bookinfo")).service_account == "bookinfo"


@pytest.mark.parametrize(
    ("flag", "text", "check"),
    [
        ("readiness_http", "/healthz", HttpCheck("/healthz")),
        ("readiness_http", "9080/healthz?full=1", HttpCheck("/healthz?full=1", 9080)),
        ("readiness_tcp", "9080", TcpCheck(9080)),
        ("readiness_grpc", "7070/api.Reviews", GrpcCheck(7070, "api.Reviews")),
        ("readiness_grpc", "7070", GrpcCheck(7070)),
        ("readiness_exec", "test -f '/tmp/a b'", ExecCheck(("test", "-f", "/tmp/a b"))),
    ],
)
def test_readiness_flags_become_probes(flag: str, text: str, check: object) -> None:
    probe = workload_spec(flags(**{flag: text})).readiness
    assert probe is not None
    assert check in (probe.http, probe.tcp, probe.grpc, probe.exec)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"service": "Reviews_"}, "--service: 'Reviews_' is not a DNS label"),
        ({"ports": ("9080",)}, "--port: '9080' is not NAME:PORT"),
        ({"ports": ("http:99999",)}, "'http:99999' is not NAME:PORT"),
        ({"ports": ("http:1", "http:2")}, "port 'http' is there twice"),
        ({"upstreams": ("ratings",)}, "--upstream: 'ratings' is not HOST:PORT"),
        ({"labels": ("team",)}, "--label: 'team' is not KEY=VALUE"),
        ({"environment": ("A=1", "A=2")}, "--env: 'A' is given twice"),
        ({"readiness_tcp": "http"}, "--readiness-tcp: 'http' is not a port from 1 to 65535"),
        ({"readiness_http": "9080"}, "--readiness-http: '9080' is not [PORT]/PATH"),
        ({"readiness_exec": "'"}, "--readiness-exec: cannot be split into words"),
        ({"readiness_tcp": "1", "readiness_http": "/"}, "stands instead of --readiness-http"),
    ],
)
def test_wrong_flags_are_usage_errors(given: dict[str, object], said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        workload_spec(flags(**given))
    assert said in caught.value.message


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(click.UsageError) as caught:
        workload_spec(flags(ports=("http",), labels=("x",)))
    assert "--port" in caught.value.message
    assert "--label" in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may choose any user")
def test_only_root_chooses_another_user() -> None:
    with pytest.raises(click.UsageError, match="by root only"):
        workload_spec(flags(user="nobody"))


@pytest.mark.parametrize(
    ("code", "received", "told"),
    [
        (0, [], 0),
        (7, [], 7),
        (-9, [], 137),
        (-15, [signal.SIGTERM], 143),
        (0, [signal.SIGTERM], 0),
        (0, [signal.SIGINT], 130),
        (None, [signal.SIGINT, signal.SIGINT], 130),
        (None, [signal.SIGTERM], 143),
        (None, [], 1),
    ],
)
def test_the_exit_code_is_the_programs(code: int | None, received: list[signal.Signals], told: int) -> None:
    assert exit_code(code, received) == told


def test_it_says_where_it_is_reachable() -> None:
    status = WorkloadStatus(
        "1", "reviews-x", "shop", "reviews", "", "sidecar", "", "spiffe://td/ns/shop/sa/reviews",
        "127.0.0.1", {"http": 4000}, "", "",
    )  # fmt: skip
    said = announcement(status, workload_spec(flags(ports=("http:9080",))), "cluster.local")
    assert "reviews.shop.svc.cluster.local:9080" in said
    assert "spiffe://td/ns/shop/sa/reviews" in said
