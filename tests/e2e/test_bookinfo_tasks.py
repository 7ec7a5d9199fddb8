"""Istio's documented Bookinfo tasks (istio.io, "Tasks: Traffic Management"), in both capture modes."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from running_mesh import MODES, Mesh, eventually, free_port, running_mesh

BOOKINFO = Path(str(files("marline.samples") / "bookinfo"))
REVIEWS = "/api/v1/products/0/reviews"


@dataclass(frozen=True)
class Bookinfo:
    """The sample behind its ingress gateway."""

    mesh: Mesh
    port: int

    def apply(self, *names: str) -> None:
        """Istio's files, one after the other."""
        for name in names:
            self.mesh.marline("apply", "--wait", "-f", str(BOOKINFO / "networking" / f"{name}.yaml"))

    def get(self, path: str, user: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Cookie": f"session={user}"} if user else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def reviews_version(self, user: str = "") -> str:
        """Which version has answered: v1 has no ratings, v2 black and v3 red stars."""
        status, text = self.get(REVIEWS, user)
        assert status == 200, text
        rating = json.loads(text)["reviews"][0].get("rating")
        return "v1" if rating is None else {"black": "v2", "red": "v3"}[rating["color"]]

    def versions(self, count: int) -> Counter[str]:
        with ThreadPoolExecutor(4) as pool:
            return Counter(pool.map(lambda _: self.reviews_version(), range(count)))


@pytest.fixture(scope="module", params=MODES)
def running(request: pytest.FixtureRequest) -> Iterator[Bookinfo]:
    port = free_port()
    text = (BOOKINFO / "bookinfo.yaml").read_text()
    text = text.replace("command: python", "command: {python}").replace("listen: 8080", f"listen: {port}")
    with running_mesh(request.param, text) as mesh:
        bookinfo = Bookinfo(mesh, port)
        bookinfo.apply("bookinfo-gateway", "destination-rule-all")
        eventually(lambda: bookinfo.get("/productpage")[0] == 200, "the gateway serves the page")
        yield bookinfo


@pytest.fixture
def bookinfo(running: Bookinfo) -> Iterator[Bookinfo]:
    yield running
    names = running.mesh.marline("get", "virtualservices", "-o", "name").split()
    for name in {name.rpartition("/")[2] for name in names} - {"bookinfo"}:
        running.mesh.delete("virtualservice", name)


def test_the_page_shows_details_and_reviews(bookinfo: Bookinfo) -> None:
    status, text = bookinfo.get("/productpage")
    assert status == 200
    assert "The Comedy of Errors" in text
    assert "Error fetching" not in text


def test_requests_go_to_all_versions_of_reviews(bookinfo: Bookinfo) -> None:
    assert set(bookinfo.versions(60)) == {"v1", "v2", "v3"}


def test_request_routing_sends_everybody_to_v1(bookinfo: Bookinfo) -> None:
    bookinfo.apply("virtual-service-all-v1")
    assert bookinfo.versions(20) == {"v1": 20}


def test_request_routing_sends_jason_to_v2(bookinfo: Bookinfo) -> None:
    bookinfo.apply("virtual-service-all-v1", "virtual-service-reviews-test-v2")
    assert [bookinfo.reviews_version("jason") for _ in range(10)] == ["v2"] * 10
    assert [bookinfo.reviews_version("anna") for _ in range(10)] == ["v1"] * 10


def test_a_delay_makes_the_page_lose_its_reviews_for_jason(bookinfo: Bookinfo) -> None:
    bookinfo.apply("virtual-service-all-v1", "virtual-service-reviews-test-v2")
    bookinfo.apply("virtual-service-ratings-test-delay")
    status, text = bookinfo.get("/productpage", "jason")
    assert status == 200
    assert "Error fetching product reviews" in text
    assert "Error fetching" not in bookinfo.get("/productpage")[1]


def test_an_abort_takes_the_ratings_from_jason(bookinfo: Bookinfo) -> None:
    bookinfo.apply("virtual-service-all-v1", "virtual-service-reviews-test-v2")
    bookinfo.apply("virtual-service-ratings-test-abort")
    assert "Ratings service is currently unavailable" in bookinfo.get(REVIEWS, "jason")[1]
    assert "unavailable" not in bookinfo.get(REVIEWS)[1]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("virtual-service-reviews-50-v3", {"v1": 0.5, "v3": 0.5}),
        ("virtual-service-reviews-90-10", {"v1": 0.9, "v2": 0.1}),
        ("virtual-service-reviews-v3", {"v3": 1.0}),
    ],
)
def test_traffic_shifts_by_weight(bookinfo: Bookinfo, file: str, expected: dict[str, float]) -> None:
    count = 300
    bookinfo.apply("virtual-service-all-v1", file)
    found = bookinfo.versions(count)
    assert set(found) == set(expected)
    for version, share in expected.items():
        five_sigma = 5 * (share * (1 - share) / count) ** 0.5
        assert abs(found[version] / count - share) <= five_sigma, found


def test_a_request_timeout_ends_a_slow_call(bookinfo: Bookinfo) -> None:
    bookinfo.apply("virtual-service-all-v1")
    bookinfo.mesh.apply(
        """
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, subset: v2}}], timeout: 0.5s}]
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - fault: {delay: {percentage: {value: 100}, fixedDelay: 2s}}
    route: [{destination: {host: ratings, subset: v1}}]
"""
    )
    status, text = bookinfo.get("/productpage")
    assert status == 200
    assert "Error fetching product reviews" in text
