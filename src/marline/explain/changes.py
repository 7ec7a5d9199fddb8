"""What a change makes of the Envoy resources of those who are connected."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import json_format

from marline.compile.catalog import affected
from marline.compile.resource import MAKE_ORDER
from marline.explain.consequences import Consequence, Step, consequences
from marline.explain.differing import differences
from marline.explain.secrecy import shown
from marline.explain.steps import Said
from marline.explain.view import CompiledView
from marline.mesh.model import ChangeSet, Proxy
from marline.mesh.snapshot import MeshSnapshot, advance


class EnvoyChange(Said, frozen=True):
    """One Envoy resource that differs."""

    type: str
    """`Cluster`, `VirtualHost`, …"""
    name: str
    action: str
    """`added`, `changed` or `removed`."""
    lines: tuple[str, ...] = ()
    """How, if it is there before and after."""


class ProxyChange(Said, frozen=True):
    """Proxies of which the same resources differ in the same way."""

    proxies: tuple[str, ...]
    """As `namespace/name`."""
    resources: tuple[EnvoyChange, ...]


class Forecast(Said, frozen=True):
    """What a change would do."""

    proxies: tuple[ProxyChange, ...] = ()
    consequences: tuple[Consequence, ...] = ()


def forecast(before: MeshSnapshot, change: ChangeSet, proxies: Iterable[Proxy]) -> Forecast:
    """Advance the mesh by a change, in memory, and compile what it touches for these proxies."""
    after, impact = advance(before, change)
    refs = (*(item.ref for item in change.changed), *change.removed)
    step = Step(before, after, impact, refs)
    connected = tuple(proxies)
    grouped: dict[tuple[EnvoyChange, ...], list[str]] = {}
    for proxy in connected:
        changes = tuple(_changes(step, proxy))
        if changes:
            workload = proxy.workloads[0]
            grouped.setdefault(changes, []).append(f"{workload.namespace}/{workload.name}")
    return Forecast(
        tuple(ProxyChange(tuple(names), changes) for changes, names in grouped.items()),
        consequences(step, connected),
    )


def _changes(step: Step, proxy: Proxy) -> Iterator[EnvoyChange]:
    touched = tuple(affected(step.after, proxy, step.impact))
    old, new = CompiledView.of(step.before, proxy, touched), CompiledView.of(step.after, proxy, touched)
    keys = dict.fromkeys((*old.recipes(), *new.recipes()))
    for key in sorted(keys, key=lambda item: (MAKE_ORDER.index(item[0]), item[1])):
        if old.recipes().get(key) == new.recipes().get(key):
            continue
        was, will_be = old.message(*key), new.message(*key)
        if was == will_be:
            continue
        kind = key[0].rpartition(".")[2]
        if was is None or will_be is None:
            yield EnvoyChange(kind, key[1], "added" if was is None else "removed")
        else:
            lines = tuple(differences(_plain(was), _plain(will_be)))
            yield EnvoyChange(kind, key[1], "changed", lines or ("what differs is secret",))


def _plain(message: Any) -> Any:
    return json_format.MessageToDict(shown(message))
