"""The delta-ADS protocol of one stream, without I/O: requests and changes in, responses out.

Make before break (Envoy documentation, "Eventual consistency considerations"): what is referred to goes
first, each type waits until the one before is acknowledged, and what is no longer needed is removed last,
in the reverse order. One response a type is under way at a time, so a slow proxy gets the latest state and
never a queue.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from marline.compile.resource import (
    CLUSTER,
    ENDPOINT,
    MAKE_ORDER,
    ROUTE,
    SECRET,
    VIRTUAL_HOST,
    Blob,
)
from marline.xds import status
from marline.xds.messages import Effect, Refused, Request, Response, Settled
from marline.xds.subscription import Flight, Subscription
from marline.xds.view import Key, View

_TOGETHER: Final = (SECRET, CLUSTER, ENDPOINT)
"""Types that do not wait for one another: clusters, and what those need before they take requests."""


def _subscriptions() -> dict[str, Subscription]:
    return {type_url: Subscription(type_url) for type_url in MAKE_ORDER}


@dataclass(slots=True)
class Session:
    """Brings one proxy to its view, and keeps it there."""

    view: View
    types: dict[str, Subscription] = field(default_factory=_subscriptions)
    messages: dict[Key, str] = field(default_factory=dict)
    """Why resources are refused at present, in Envoy's words."""
    _answers: bool = False
    """It has acknowledged or rejected something."""
    _nonces: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def receive(self, request: Request) -> tuple[Effect, ...]:
        """The proxy says something."""
        of_type = self.types.get(request.type_url)
        if of_type is None:
            # A type that is never sent. An empty response keeps the proxy from waiting for it.
            nothing = Response(request.type_url, self._nonce())
            return (nothing,) if not request.nonce else ()
        return (*self._landed(of_type, request), *self._subscribed(of_type, request), *self._next())

    def changed(self, keys: Iterable[Key]) -> tuple[Effect, ...]:
        """The view differs in these resources."""
        effects: list[Effect] = []
        for type_url, name in keys:
            now = self.view.get(type_url, name)
            if self.types[type_url].changed(name, now):
                effects.append(self._settled(type_url, name))
        return (*effects, *self._next())

    def try_again(self) -> tuple[Effect, ...]:
        """Send once more what the proxy refuses, since that may have had other reasons than what was sent."""
        for of_type in self.types.values():
            of_type.dirty.update(of_type.refusals.try_again(everything=True))
        return tuple(self._next())

    def _landed(self, of_type: Subscription, request: Request) -> Iterator[Effect]:
        """The proxy took what was under way, or refused it."""
        flight = of_type.flight
        if flight is None or request.nonce != flight.nonce:
            return
        self._answers = True
        if request.error is not None:
            at_fault = of_type.crash(flight, self.view.resources[of_type.type_url])
            if at_fault is not None:
                yield self._refused(of_type.type_url, *at_fault, request.error)
            return
        for name in of_type.land(flight):
            yield self._settled(of_type.type_url, name)

    def _subscribed(self, of_type: Subscription, request: Request) -> Iterator[Effect]:
        view = self.view.resources[of_type.type_url]
        if not of_type.started:
            of_type.begin(request.subscribe, request.initial_versions, view)
            if of_type.type_url == ENDPOINT and not self.types[CLUSTER].started:
                # An Envoy that returns while clusters get warm is silent about clusters until they are, and
                # repeats all else: it waits for endpoints, whatever it says that it has.
                for name in request.subscribe:
                    of_type.resend(name)
        else:
            for name in of_type.unsubscribe(request.unsubscribe):
                yield self._settled(of_type.type_url, name)
            of_type.subscribe(request.subscribe, view)
        if of_type.type_url == ROUTE:
            self._send_virtual_hosts(request)

    def _send_virtual_hosts(self, request: Request) -> None:
        """An Envoy that asks for a route configuration needs all of its virtual hosts, `<route
        configuration>/<name>`, and does not ask for those: of VHDS it has one subscription to everything."""
        tables = {name for name in request.subscribe if name not in request.initial_versions}
        virtual_hosts = self.types[VIRTUAL_HOST]
        for name in self.view.resources[VIRTUAL_HOST] if tables else ():
            if name.rpartition("/")[0] in tables:
                virtual_hosts.resend(name)

    def _next(self) -> Iterator[Effect]:
        """The responses whose turn it is."""
        # An Envoy acknowledges clusters when they are warm, so their endpoints cannot wait for that.
        for type_url in _TOGETHER:
            yield from self._make(self.types[type_url])
        if any(self.types[type_url].flight is not None for type_url in _TOGETHER):
            return
        if not self.types[CLUSTER].started:
            return
        for type_url in MAKE_ORDER:
            yield from self._make(self.types[type_url])
            if self.types[type_url].flight is not None:
                return
        for type_url in reversed(MAKE_ORDER):
            of_type = self.types[type_url]
            removed = of_type.next_to_remove(self.view.resources[type_url])
            if removed:
                # A proxy that returns repeats its subscriptions one by one, and what it has may refer to what
                # goes. When it has answered anything, it has said all that.
                yield self._send(of_type, {}, removed if self._answers else ())
                return
            if of_type.keeps_old():
                # What the proxy goes on with may still refer to anything that was there then.
                return

    def _make(self, of_type: Subscription) -> Iterator[Response]:
        if of_type.flight is not None or not of_type.started:
            return
        view = self.view.resources[of_type.type_url]
        made = of_type.next_to_make(view)
        removed: tuple[str, ...] = ()
        if of_type.type_url == ENDPOINT or (of_type.type_url == VIRTUAL_HOST and made):
            # That there are no endpoints is what a warming cluster waits for. And no two virtual hosts of a
            # table may have a domain in common: one that takes over another's is refused unless that one
            # goes with the same response.
            removed = of_type.next_to_remove(view)
        if made or removed or of_type.owed:
            yield self._send(of_type, made, removed)

    def _send(self, of_type: Subscription, made: dict[str, Blob], removed: tuple[str, ...] = ()) -> Response:
        flight = Flight(self._nonce(), made, removed)
        of_type.fly(flight)
        if of_type.type_url == CLUSTER:
            self._send_endpoints(made)
        return Response(of_type.type_url, flight.nonce, tuple(made.values()), removed)

    def _send_endpoints(self, clusters: Iterable[str]) -> None:
        """A cluster that is new or changed takes no requests before it was told its endpoints, those that
        it had before included (Envoy documentation, "Cluster warming"). For a new one Envoy asks."""
        endpoints = self.types[ENDPOINT]
        for name in clusters:
            # A proxy that returns has not repeated yet that it wants them, nor said that it has some.
            if name in endpoints.names or (not endpoints.started and name in self.view.resources[ENDPOINT]):
                endpoints.resend(name)

    def _nonce(self) -> str:
        return str(next(self._nonces))

    def _refused(self, type_url: str, name: str, blob: Blob, message: str) -> Refused:
        self.messages[type_url, name] = message
        return Refused(type_url, name, message, blob.sources)

    def _settled(self, type_url: str, name: str) -> Settled:
        self.messages.pop((type_url, name), None)
        return Settled(type_url, name)

    @property
    def is_settled(self) -> bool:
        """Does the proxy have all that it should have and is willing to take?"""
        return all(item.flight is None for item in self.types.values())

    def statuses(self) -> tuple[status.TypeStatus, ...]:
        """How far the proxy is, type by type; types that it never asked for are left out."""
        return tuple(self._status(item) for item in self.types.values() if item.started)

    def _status(self, of_type: Subscription) -> status.TypeStatus:
        wanted, current = of_type.count(self.view.resources[of_type.type_url])
        state = status.SYNCED
        if of_type.refusals.refused:
            state = status.REJECTED
        elif of_type.flight is not None or current < wanted:
            state = status.PENDING
        return status.TypeStatus(of_type.type_url, state, wanted, current)
