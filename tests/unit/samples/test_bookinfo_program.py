"""The programs as processes, their files, and the server below them."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bookstore import Recorder, ask, running

from marline.api.decode import admit
from marline.api.documents import read_documents
from marline.node.application import parse
from marline.samples.bookinfo import APPLICATION_FILE, NETWORKING
from marline.samples.server import Server, json_response


@contextmanager
def start(program: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "marline.samples.bookinfo", program],
        env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> str:
    with Server(lambda _: json_response({}), "127.0.0.1", 0) as trial:
        return str(trial.server_address[1])


def test_a_program_serves_where_it_is_told_and_ends_in_order() -> None:
    port = free_port()
    with start("details", PORT=port) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"listening on 127.0.0.1:{port}\n"
        assert ask(f"http://127.0.0.1:{port}", "/details/0").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("program", "environment", "said"),
    [
        ("shop", {}, "productpage|details|reviews|ratings"),
        ("details", {"PORT": "http"}, "PORT is 'http'"),
        ("productpage", {"REVIEWS_URL": "reviews:9080"}, "REVIEWS_URL is 'reviews:9080'"),
        ("reviews", {"STAR_COLOR": "blue"}, "STAR_COLOR is 'blue'"),
    ],
)
def test_what_is_wrong_is_said(program: str, environment: dict[str, str], said: str) -> None:
    with start(program, **environment) as process:
        _, stderr = process.communicate(timeout=20)
    assert (process.returncode, said in stderr) == (2, True)


def test_connections_are_kept() -> None:
    with running(lambda request: json_response(request.path)) as base:
        connection = http.client.HTTPConnection(base.removeprefix("http://"))
        ports = set()
        for path in ("/one", "/two%20three"):
            connection.request("GET", path)
            ports.add(connection.sock.getsockname()[1])
            answered = connection.getresponse().read().decode()
            assert answered.strip() == f'"{path.replace("%20", " ")}"'
        connection.close()
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Transfer-Encoding": "chunked"}, 411), ({"Content-Length": "999999"}, 413)],
)
def test_bodies_of_unknown_or_great_length_are_refused(headers: dict[str, str], status: int) -> None:
    with running(lambda request: json_response(request.path)) as base:
        assert ask(base, "/", "POST", headers=headers).status == status


def test_requests_under_way_are_waited_for() -> None:
    release = threading.Event()
    slow = Recorder(json_response({}), hangs=release)
    server = Server(slow.answer, "127.0.0.1", 0)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    asking = threading.Thread(target=ask, args=(base, "/"))
    asking.start()
    while not slow.seen:
        asking.join(0.01)
    server.shutdown()
    assert not server.finish(0.05)
    release.set()
    assert server.finish(20)
    asking.join()
    serving.join()
    server.server_close()


def test_the_application_file_describes_six_programs_and_a_gateway() -> None:
    application = parse(APPLICATION_FILE.read_text(), APPLICATION_FILE.name)
    named = sorted(f"{item.spec.service}-{item.spec.version}" for item in application.workloads)
    assert named == ["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"]
    assert all(item.spec.service_account == f"bookinfo-{item.spec.service}" for item in application.workloads)
    assert [gateway.ports[0].listen for gateway in application.gateways] == [8080]


@pytest.mark.parametrize("file", sorted(NETWORKING.glob("*.yaml")), ids=lambda file: file.name)
def test_every_resource_of_the_tasks_is_accepted(file: Path) -> None:
    documents = read_documents(file.read_text(), file.name)
    assert documents
    for document in documents:
        admit(document.obj)
