"""Whatever changes, whatever is rejected and however slow it all is: requests never meet a cluster that is
not there, and in the end the proxy has its view."""

import random
from collections import deque
from typing import Any

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_envoy import Content, SimulatedEnvoy, content

from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Blob
from marline.compile.units import HostUnit
from marline.xds.messages import Effect, Refused, Response, Settled
from marline.xds.session import Session
from marline.xds.view import View

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
CLUSTERS = {"a": True, "b": True, "c": True, "d": False}
"""Whether their endpoints are discovered."""
HOSTS = ("t/x", "t/y", "u/x")

Shown = dict[tuple[str, str], Content]


def view_of(seed: int) -> Shown:
    """A consistent view: what is referred to is there."""
    draw = random.Random(seed)
    found: Shown = {}
    names = draw.sample(sorted(CLUSTERS), draw.randint(1, 4))
    for name in names:
        found[CLUSTER, name] = _content(draw, discovered=CLUSTERS[name])
        if CLUSTERS[name]:
            found[ENDPOINT, name] = _content(draw)
    for table in draw.sample("tu", draw.randint(0, 2)):
        found[LISTENER, f"listener-{table}"] = _content(draw, table=table)
        found[ROUTE, table] = Content(draw.randint(1, 2))
        found[VIRTUAL_HOST, f"{table}/placeholder"] = Content(domain="placeholder.invalid")
        domains = draw.sample(("one", "two", "three"), 3)
        for host, domain in zip((name for name in HOSTS if name[0] == table), domains, strict=False):
            if draw.random() < 0.6:
                found[VIRTUAL_HOST, host] = _content(draw, cluster=draw.choice(names), domain=domain)
    return found


def _content(draw: random.Random, **said: Any) -> Content:
    return Content(draw.randint(1, 3), draw.random() < 0.1, **said)


views = st.integers(0, 2**32).map(view_of)


def blob_of(key: tuple[str, str], said: Content) -> Blob:
    wire = msgspec.json.encode(said)
    return Blob(key[0], key[1], wire.decode(), wire)


class Stream(RuleBasedStateMachine):
    """A control plane, an Envoy, and a slow wire between them."""

    @initialize(view=views)
    def connect(self, view: Shown) -> None:
        self.envoy = SimulatedEnvoy()
        self.view = View()
        self.wanted: Shown = {}
        self.ever_bad: set[tuple[str, str]] = set()
        self._open()
        self.change(view)

    def _open(self) -> None:
        self.session = Session(self.view)
        self.wire: deque[Response] = deque()
        self.refused: set[tuple[str, str]] = set()
        self.rejected: set[str] = set()
        self.envoy.open_stream()

    @rule(view=views)
    def change(self, view: Shown) -> None:
        self.ever_bad |= {key for key, said in view.items() if said.bad}
        units: dict[Any, tuple[Blob, ...]] = {HostUnit(str(key)): () for key in self.wanted}
        units.update({HostUnit(str(key)): (blob_of(key, said),) for key, said in view.items()})
        self.wanted = view
        self._perform(self.session.changed(self.view.replace(units)))

    @precondition(lambda self: self.envoy.outbox)
    @rule()
    def hear(self) -> None:
        request = self.envoy.outbox.popleft()
        if request.error is not None:
            self.rejected.add(request.type_url)
        self._perform(self.session.receive(request))

    @precondition(lambda self: self.wire)
    @rule()
    def deliver(self) -> None:
        self.envoy.take(self.wire.popleft())

    @precondition(lambda self: not self.envoy.unclear)
    @rule()
    def reconnect(self) -> None:
        self._open()

    @rule()
    def drain(self) -> None:
        for _ in range(2000):
            if self.wire:
                self.deliver()
            elif self.envoy.outbox:
                self.hear()
            elif self.envoy.warming:
                assert all((ENDPOINT, name) in self.refused for name in self.envoy.warming)
                self.envoy.give_up_waiting()
            else:
                break
            self.no_request_meets_a_cluster_that_is_not_there()
        assert not self.wire, "it does not come to rest"
        self._check_converged()

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Response():
                    self._check_is_news(effect)
                    self.wire.append(effect)
                case Refused():
                    self.refused.add((effect.type_url, effect.name))
                case Settled():
                    self.refused.remove((effect.type_url, effect.name))

    def _check_is_news(self, response: Response) -> None:
        assert response.type_url not in [item.type_url for item in self.wire]
        if response.type_url in (CLUSTER, LISTENER) and response.type_url not in self.rejected:
            has = self.envoy.versions.get(response.type_url, {})
            assert all(has.get(blob.name) != blob.version for blob in response.blobs), "sent for nothing"
            assert all(name in has for name in response.removed), "removed for nothing"

    @invariant()
    def no_request_meets_a_cluster_that_is_not_there(self) -> None:
        for name, blob in self.envoy.virtual_hosts.items():
            cluster = content(blob).cluster
            if name.partition("/")[0] not in self.envoy.served or not cluster:
                continue
            if (CLUSTER, cluster) not in self.ever_bad:
                assert cluster in self.envoy.clusters, f"{name} leads to {cluster}, which is not there"
                if CLUSTERS[cluster] and (ENDPOINT, cluster) not in self.ever_bad:
                    assert cluster in self.envoy.endpoints, f"{name} leads to {cluster} without endpoints"

    @invariant()
    def the_status_counts_what_the_proxy_has(self) -> None:
        for type_url in TYPES:
            of_type, view = self.session.types[type_url], self.view.resources[type_url]
            wanted = [blob for name, blob in view.items() if of_type.wants(name)]
            current = [blob for blob in wanted if not of_type.lacks(blob.name, blob)]
            assert not of_type.started or of_type.count(view) == (len(wanted), len(current))

    def _check_converged(self) -> None:
        envoy = self.envoy
        assert self.session.is_settled
        assert not envoy.warming
        has = dict(zip(TYPES, (envoy.clusters, envoy.endpoints, envoy.listeners, envoy.tables,
                               envoy.virtual_hosts), strict=True))  # fmt: skip
        for (type_url, name), said in self.wanted.items():
            if self._reaches(type_url, name):
                if said.bad:
                    assert (type_url, name) in self.refused
                elif (type_url, name) not in self.refused:
                    assert content(has[type_url][name]) == said
        for key in self.refused:
            assert self.wanted[key].bad or self._lacks_a_domain(key), "the one at fault is another"
        kept_back = any(name in has[type_url] for type_url, name in self.refused)
        if not kept_back:
            for type_url in (CLUSTER, LISTENER, VIRTUAL_HOST):
                asked = type_url in envoy.started
                assert not asked or has[type_url].keys() <= {
                    name for kind, name in self.wanted if kind == type_url
                }

    def _lacks_a_domain(self, key: tuple[str, str]) -> bool:
        """Does another virtual host keep it, since its newest version is refused?"""
        type_url, name = key
        return type_url == VIRTUAL_HOST and any(
            content(blob).domain == self.wanted[key].domain
            for other, blob in self.envoy.virtual_hosts.items()
            if (type_url, other) in self.refused and other[0] == name[0]
        )

    def _reaches(self, type_url: str, name: str) -> bool:
        """Does the proxy ask for it, now that it has the rest?"""
        if type_url in (ENDPOINT, ROUTE):
            return name in self.envoy.subscribed[type_url]
        return type_url in self.envoy.started


Stream.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
test_stream = Stream.TestCase
