"""The client's side of delta ADS as an Envoy plays it, reduced to names, versions and references.

What is modelled is what a control plane can get wrong: clusters warm until they are told their endpoints,
and clusters are acknowledged when they are warm; listeners wait for a route configuration and its first
virtual host; a rejected response is nevertheless taken in part, except one of virtual hosts; no two virtual
hosts of a table have the same domain; endpoints and route configurations are asked for by name, the rest by
one subscription to everything.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Blob
from marline.xds.messages import Request, Response


class Content(msgspec.Struct, frozen=True):
    """What a resource says, as its blob's bytes."""

    version: int = 1
    bad: bool = False
    discovered: bool = False
    """A cluster's endpoints are."""
    table: str = ""
    """Of a listener."""
    cluster: str = ""
    """Where a virtual host leads."""
    domain: str = ""


def content(blob: Blob) -> Content:
    return msgspec.json.decode(blob.wire, type=Content)


@dataclass
class SimulatedEnvoy:
    """Everything that it has to say stands in `outbox`, in its order."""

    outbox: deque[Request] = field(default_factory=deque)
    clusters: dict[str, Blob] = field(default_factory=dict)
    warming: dict[str, Blob] = field(default_factory=dict)
    endpoints: dict[str, Blob] = field(default_factory=dict)
    listeners: dict[str, Blob] = field(default_factory=dict)
    tables: dict[str, Blob] = field(default_factory=dict)
    virtual_hosts: dict[str, Blob] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    """Tables that have had a virtual host: their listeners take requests."""
    subscribed: dict[str, set[str]] = field(default_factory=lambda: {ENDPOINT: set(), ROUTE: set()})
    started: list[str] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """By type and name, as acknowledged: what it says that it has when it comes back."""
    initialised: bool = False
    unclear: set[tuple[str, str]] = field(default_factory=set)
    """What was taken of rejected responses: what it would say that it has is not true."""
    _paused: list[Request] = field(default_factory=list)
    """What it has to say about clusters, until those are warm."""

    def open_stream(self) -> None:
        """Repeats its subscriptions in the order in which it first made them."""
        self.outbox.clear()
        self._paused.clear()
        for type_url in self.started or [CLUSTER]:
            self._start(type_url)
        if self.warming and self.initialised:
            self._paused.append(self.outbox.popleft())

    def _start(self, type_url: str) -> None:
        if type_url not in self.started:
            self.started.append(type_url)
        has = dict(self.versions.get(type_url, {}))
        wanted = tuple(sorted(self.subscribed.get(type_url, ())))
        self.outbox.append(Request(type_url, wanted, (), has))

    def take(self, response: Response) -> None:
        take = {
            CLUSTER: self._clusters,
            ENDPOINT: self._endpoints,
            LISTENER: self._listeners,
            ROUTE: self._tables,
            VIRTUAL_HOST: self._virtual_hosts,
        }[response.type_url]
        error = take(response)
        if error is None:
            has = self.versions.setdefault(response.type_url, {})
            has.update({blob.name: blob.version for blob in response.blobs})
            for name in response.removed:
                has.pop(name, None)
        touched = {
            (response.type_url, name) for name in (*(blob.name for blob in response.blobs), *response.removed)
        }
        self.unclear = self.unclear - touched if error is None else self.unclear | touched
        self._answer(Request(response.type_url, nonce=response.nonce, error=error))

    def _answer(self, answer: Request) -> None:
        if answer.type_url == CLUSTER:
            self._paused.append(answer)
        else:
            self.outbox.append(answer)
        if not self.warming or not self.initialised:
            self.outbox.extend(self._paused)
            self._paused.clear()
        if not self.warming and not self.initialised:
            self.initialised = True
            self._start(LISTENER)

    def _subscribe(self, type_url: str, *names: str) -> None:
        new = tuple(name for name in names if name not in self.subscribed[type_url])
        self.subscribed[type_url].update(new)
        if type_url not in self.started:
            self._start(type_url)
        elif new:
            self.outbox.append(Request(type_url, new))

    def _give_up(self, type_url: str, name: str) -> None:
        if name in self.subscribed[type_url]:
            self.subscribed[type_url].discard(name)
            self.versions.get(type_url, {}).pop(name, None)
            self.outbox.append(Request(type_url, (), (name,)))

    def _clusters(self, response: Response) -> str | None:
        for blob in response.blobs:
            if content(blob).bad or blob.version in _versions(self.clusters, self.warming, blob.name):
                continue
            if content(blob).discovered:
                self.warming[blob.name] = blob
            else:
                self.clusters[blob.name] = blob
        for name in response.removed:
            self.clusters.pop(name, None)
            self.warming.pop(name, None)
            self.endpoints.pop(name, None)
            self._give_up(ENDPOINT, name)
        if self.warming:
            self._subscribe(ENDPOINT, *sorted(self.warming))
        return _complaint(response)

    def _endpoints(self, response: Response) -> str | None:
        for blob in response.blobs:
            if blob.name in self.subscribed[ENDPOINT]:
                if not content(blob).bad:
                    self.endpoints[blob.name] = blob
                self._warm(blob.name)
        for name in response.removed:
            self._warm(name)
        return _complaint(response)

    def give_up_waiting(self) -> None:
        """The time is over for which a cluster waits for its endpoints."""
        for name in list(self.warming):
            self._warm(name)
        self.outbox.extend(self._paused)
        self._paused.clear()

    def _warm(self, name: str) -> None:
        if name in self.warming:
            self.clusters[name] = self.warming.pop(name)

    def _listeners(self, response: Response) -> str | None:
        for name in response.removed:
            if name in self.listeners:
                table = content(self.listeners.pop(name)).table
                self.tables.pop(table, None)
                self.served.discard(table)
                self._give_up(ROUTE, table)
        good = [blob for blob in response.blobs if not content(blob).bad]
        self.listeners.update({blob.name: blob for blob in good})
        if good:
            self._subscribe(ROUTE, *sorted(content(blob).table for blob in good))
        return _complaint(response)

    def _tables(self, response: Response) -> str | None:
        for blob in response.blobs:
            if blob.name in self.subscribed[ROUTE] and not content(blob).bad:
                self.tables[blob.name] = blob
        if self.tables and VIRTUAL_HOST not in self.started:
            self._start(VIRTUAL_HOST)
        return _complaint(response)

    def _virtual_hosts(self, response: Response) -> str | None:
        after = {name: blob for name, blob in self.virtual_hosts.items() if name not in response.removed}
        after.update({blob.name: blob for blob in response.blobs})
        domains = [(name.partition("/")[0], content(blob).domain) for name, blob in after.items()]
        if len(set(domains)) < len(domains):
            return "duplicate domain"
        error = _complaint(response)
        if error is None:
            self.virtual_hosts = after
            self.served |= {blob.name.partition("/")[0] for blob in response.blobs} & self.tables.keys()
        return error


def _versions(*tables_and_name: object) -> set[str]:
    *tables, name = tables_and_name
    return {table[name].version for table in tables if isinstance(table, dict) and name in table}


def _complaint(response: Response) -> str | None:
    bad = [blob.name for blob in response.blobs if content(blob).bad]
    return f"bad: {' '.join(bad)}" if bad else None
