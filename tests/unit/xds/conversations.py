"""Scripts of conversations with a `Session`: a proxy says something, and the answer is a line of text.

`CDS a@1 b@2 -c` is a response of clusters `a` in version 1 and `b` in version 2 that removes `c`;
`refused CDS a: why` and `settled CDS a` are the other effects.
"""

from collections.abc import Iterable
from typing import Final

from marline.api.resource import Ref
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST, Blob
from marline.compile.units import HostUnit
from marline.xds.messages import Effect, Refused, Request, Response
from marline.xds.session import Session
from marline.xds.view import View

TYPES: Final = {
    "SDS": SECRET,
    "CDS": CLUSTER,
    "EDS": ENDPOINT,
    "LDS": LISTENER,
    "RDS": ROUTE,
    "VHDS": VIRTUAL_HOST,
}
NAMES: Final = {type_url: name for name, type_url in TYPES.items()}
SOURCE: Final = Ref("networking.istio.io", "VirtualService", "default", "reviews")


def blob(kind: str, text: str) -> Blob:
    """`name@version` as a resource of this type."""
    name, _, version = text.partition("@")
    return Blob(TYPES[kind], name, version, f"{kind} {text};".encode(), (SOURCE,))


def blobs(text: str) -> list[Blob]:
    """Such as `CDS a@1 b@1, EDS a@1`."""
    found: list[Blob] = []
    for part in text.split(",") if text else ():
        kind, *items = part.split()
        found.extend(blob(kind, item) for item in items)
    return found


class Conversation:
    """One proxy's stream, and the view that its control plane would show it."""

    def __init__(self, text: str = "") -> None:
        self.view = View()
        self.session = Session(self.view)
        self._unanswered: dict[str, Response] = {}
        self.change(text)

    def change(self, text: str = "", gone: str = "") -> list[str]:
        """The view gets or loses resources, all at once."""
        units = {HostUnit(f"{item.type_url} {item.name}"): (item,) for item in blobs(text)}
        ended = {HostUnit(f"{item.type_url} {item.name}"): () for item in blobs(gone)}
        changed = self.view.replace({**units, **ended})
        return self._told(self.session.changed(changed))

    def try_again(self) -> list[str]:
        return self._told(self.session.try_again())

    def ask(self, kind: str, *names: str, has: str = "", without: Iterable[str] = ()) -> list[str]:
        """A request that acknowledges nothing; `has` as in `a@1 b@2`."""
        versions = dict(item.split("@") for item in has.split())
        return self.say(Request(TYPES[kind], names, tuple(without), versions))

    def ack(self, kind: str) -> list[str]:
        return self.say(Request(TYPES[kind], nonce=self._unanswered.pop(kind).nonce))

    def nack(self, kind: str, why: str = "bad") -> list[str]:
        return self.say(Request(TYPES[kind], nonce=self._unanswered.pop(kind).nonce, error=why))

    def say(self, request: Request) -> list[str]:
        return self._told(self.session.receive(request))

    def _told(self, effects: Iterable[Effect]) -> list[str]:
        return [self._line(effect) for effect in effects]

    def _line(self, effect: Effect) -> str:
        kind = NAMES.get(effect.type_url, effect.type_url)
        if isinstance(effect, Response):
            assert kind not in self._unanswered, "a second response before the first was answered"
            self._unanswered[kind] = effect
            made = [f"{item.name}@{item.version}" for item in effect.blobs]
            return " ".join((kind, *made, *(f"-{name}" for name in effect.removed)))
        if isinstance(effect, Refused):
            return f"refused {kind} {effect.name}: {effect.message}"
        return f"settled {kind} {effect.name}"


def begun(text: str = "") -> Conversation:
    """A proxy that has asked for its clusters and has them: before that it is sent nothing else."""
    talk = Conversation(text)
    talk.ask("CDS")
    talk.ack("CDS")
    return talk


def in_sync(text: str) -> Conversation:
    """A proxy that has all of this view: it asked for all clusters, listeners and virtual hosts, and for
    the endpoints and route configurations by name."""
    talk = Conversation(text)
    for kind, named in (("CDS", False), ("EDS", True), ("LDS", False), ("RDS", True), ("VHDS", False)):
        names = tuple(talk.view.resources[TYPES[kind]]) if named else ()
        talk.ask(kind, *names)
        while kind in talk._unanswered:
            talk.ack(kind)
    assert talk.session.is_settled
    assert all(item.state == "SYNCED" for item in talk.session.statuses())
    return talk
