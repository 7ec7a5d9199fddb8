"""Application files that are wrong: every fault is named, with its line, its path and what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.api.errors import FieldError, InvalidResource
from marline.node.application import parse

WEB = "services:\n  web:\n    command: serve\n    ports: [http:80]\n"


def faults(text: str) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidResource) as caught:
        parse(text, "shop.yaml")
    return caught.value.errors


def said(text: str) -> list[str]:
    return [str(error) for error in faults(text)]


@pytest.mark.parametrize(
    ("lines", "path", "message"),
    [
        ("ports: [http]", "ports[0]", "NAME:PORT or NAME:PORT:TARGET, such as http:9080"),
        ("ports: [http:0]", "ports[0]", "NAME:PORT"),
        ("ports: [http:80:70000]", "ports[0]", "NAME:PORT"),
        ("ports: [http:80:1:2]", "ports[0]", "NAME:PORT"),
        ("ports: [http:²]", "ports[0]", "NAME:PORT"),
        ("ports: [HTTP:80]", "ports[0]", "DNS label"),
        ("ports: [{name: http, port: 70000}]", "ports[0]", "expected"),
        ("ports: [http:80, http:81]", "ports[1]", "'http' is there twice"),
        ("ports: [http:80, other:80]", "ports[1]", "'80' is there twice"),
        ("ports: [http:80, other:81:80]", "ports[1]", "target port '80' is there twice"),
        ("ports: [tcp:80, udp:80, udp-b:80]", "ports[2]", "port '80/UDP' is there twice"),
        (
            "ports: [udp:80] | probes: {readiness: {tcp: {}}}",
            "readiness.tcp.port",
            "no ports for connections",
        ),
        ("upstreams: [ratings]", "upstreams[0]", "HOST:PORT, such as ratings:9080, or NAME=HOST:PORT"),
        ("upstreams: [ratings:http]", "upstreams[0]", "HOST:PORT"),
        ("upstreams: ['1A=ratings:80']", "upstreams[0]", "NAME=HOST:PORT"),
        ("upstreams: ['=ratings:80']", "upstreams[0]", "NAME=HOST:PORT"),
        ("upstreams: ['*.example:80']", "upstreams[0]", "not a host"),
        ("upstreams: [a.x:80, a.y:80]", "upstreams[1]", "A_2=a.y:80"),
        ("upstreams: [{host: a b, port: 80}]", "upstreams[0].host", "not a host name"),
        ("labels: {app: other}", "labels[app]", "service's name"),
        ("labels: {'a b': c}", "labels[a b]", "not a label key"),
        ("labels: {version: v1} | version: v2", "labels[version]", "made of the version"),
        ("version: 'a/b'", "[version]", "not a label value"),
        ("replicas: -1", "replicas", "at least 0"),
        ("replicas: 1001", "replicas", "at most 1000"),
        ("version: v1 | versions: {v2: {}}", "versions", "give either"),
        ("versions: {v1: {replicas: two}}", "versions[v1].replicas", "expected an integer"),
        ("namespace: Mine", "namespace", "DNS label"),
        ("serviceAccount: a_b", "serviceAccount", "DNS name"),
        ("environment: {A=B: c}", "environment[A=B]", "not the name of a variable"),
        ('environment: {A: "x\\0"}', "environment[A]", "code 0"),
        ("command: ''", "command", "is required: what to run"),
        ("command: 'say \"hello'", "command", "cannot be split into words"),
        ("command: 7", "command", "expected"),
        ("stopGrace: 2m", "stopGrace", "not between 0s and 60s"),
        ("stopGrace: soon", "stopGrace", "duration"),
        ("probes: {readiness: {}}", "probes.readiness", "one of http, tcp, grpc and exec"),
        ("probes: {readiness: {http: {}, tcp: {}}}", "probes.readiness", "one of"),
        ("probes: {readiness: {tcp: {service: x}}}", "probes.readiness.tcp.service", "gRPC"),
        ("probes: {readiness: {tcp: {}, period: 0s}}", "probes.readiness.period", "longer than nothing"),
        ("probes: {readiness: {tcp: {}, timeout: 0s}}", "probes.readiness.timeout", "longer than nothing"),
        ("probes: {readiness: {tcp: {}, failureThreshold: 0}}", "failureThreshold", "at least 1"),
        ("probes: {readiness: {exec: {command: []}}}", "probes.readiness.exec.command", "is required"),
        ("probes: {readiness: {http: {headers: {'a b': c}}}}", "http.headers[a b]", "HTTP header name"),
        ('probes: {readiness: {http: {headers: {a: "b\\n"}}}}', "http.headers[a]", "control character"),
        ("ports: [] | probes: {readiness: {tcp: {}}}", "readiness.tcp.port", "the service has no ports"),
    ],
)
def test_a_fault_of_a_service_is_named(lines: str, path: str, message: str) -> None:
    fields = {"command": "serve", "ports": "[http:80]"}
    fields |= {line.partition(": ")[0]: line.partition(": ")[2] for line in lines.split(" | ")}
    text = "".join(f"    {name}: {value}\n" for name, value in fields.items())
    (fault,) = [fault for fault in faults(f"services:\n  web:\n{text}") if message in fault.message]
    assert fault.path.endswith(path)
    assert fault.path.startswith("services[web]")
    assert fault.line >= 2


@pytest.mark.parametrize(
    ("gateway", "path", "message"),
    [
        ("in: {}", "gateways[in].ports", "is required"),
        ("In: {ports: [{port: 80}]}", "gateways[In]", "DNS label"),
        ("in: {bind: here, ports: [{port: 80}]}", "gateways[in].bind", "not an IP address"),
        ("in: {ports: [{port: 80}, {port: 80, listen: 1}]}", "gateways[in].ports[1]", "'80' is there twice"),
        (
            "in: {ports: [{port: 80}, {port: 81, listen: 80}]}",
            "gateways[in].ports[1]",
            "listener at '80' is there twice",
        ),
        ("in: {ports: [{listen: 80}]}", "gateways[in].ports[0].port", "is required"),
    ],
)
def test_a_fault_of_a_gateway_is_named(gateway: str, path: str, message: str) -> None:
    (fault,) = faults(f"gateways:\n  {gateway}\n")
    assert (fault.path, fault.line) == (path, 2)
    assert message in fault.message


def test_all_faults_are_said_at_once_each_at_its_line() -> None:
    text = "services:\n  web:\n    ports: [http:80]\n    restart: perhaps\n    comand: serve\n"
    assert said(text) == [
        "shop.yaml:4: services[web].restart: expected true or false, found string 'perhaps'",
        "shop.yaml:5: services[web].comand: unknown field (did you mean 'command'?)",
    ]


def test_a_version_without_command_is_named() -> None:
    text = "services:\n  web:\n    versions:\n      v1: {command: serve}\n      v2: {}\n"
    (fault,) = faults(text)
    assert (fault.path, fault.line) == ("services[web].versions[v2].command", 5)


@pytest.mark.parametrize("text", ["", "# nothing\n", "name: shop\n", "services: {}\ngateways: {}\n"])
def test_a_file_that_asks_for_nothing_is_refused(text: str) -> None:
    assert "names neither services nor gateways" in said(text)[0]


def test_an_application_file_is_one_document() -> None:
    assert "has 2 YAML documents" in said(f"{WEB}---\n{WEB}")[0]


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "services: [web]\n",
        "services: {web: serve}\n",
        "services: {web: null}\n",
        "services:\n  web: {command: a}\n  web: {command: b}\n",
        "services: !!python/object/apply:os.system ['true']\n",
        "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "services: {web: {command: [\n",
        "\x00",
        "services: {web: {command: [1, 2]}}",
        "name: Shop\nservices: {web: {command: serve}}\n",
    ],
)
def test_hostile_and_broken_yaml_is_refused(text: str) -> None:
    assert all(line.startswith("shop.yaml:") for line in said(text))


def test_yaml_that_grows_without_end_is_refused() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert faults("\n".join(["a0: &a0 [x]", *levels]))


@given(st.text(max_size=200))
def test_any_text_is_an_application_or_has_faults(text: str) -> None:
    try:
        parse(text, "shop.yaml")
    except InvalidResource as error:
        assert error.errors
