"""`marline ca`: how the certificate authority is, and its root changed without an outage."""

import asyncio
import contextlib
import hashlib
import importlib
import time
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from marline.api.resource import Ref
from marline.cli.exits import Missing
from marline.cli.mesh import connected_proxies, open_api
from marline.cli.options import Settings, mesh_options
from marline.cli.output import TABLE, Column, dump, output_option, table
from marline.cli.progress import progress
from marline.identity.ca_status import PATH, CaRequest, CaStatus, Certificate
from marline.node.home import Home
from marline.store.interface import StoreError, Unavailable
from marline.store.remote.client import RemoteStore
from marline.xds.status import PENDING, SETTLED_AT, TIMEOUT_SECONDS

_LOOK_SECONDS: Final = 0.5
_SHOWN_PENDING: Final = 5
_WAIT_SECONDS: Final = "30"


_ELSEWHERE: Final = {"make-root": "make_root", "request": "request", "sign": "sign", "import": "import_"}
"""Commands of `ca_offline`."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found = getattr(importlib.import_module("marline.cli.ca_offline"), _ELSEWHERE[cmd_name])
        assert isinstance(found, click.Command)  # noqa: S101 (tells the type checker)
        return found


@click.group(cls=_Group)
def command() -> None:
    """Watch and change the certificate authority."""


@command.command()
@output_option()
@mesh_options
@click.pass_obj
def status(settings: Settings, output: str) -> None:
    """Show the authority's certificates, how proxies follow it, and what is to be done."""
    found = asyncio.run(_ask(settings.home))
    if output != TABLE:
        dump(msgspec.to_builtins(found), output)
        return
    for line in _lines(found):
        click.echo(line)
    for warning in found.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)


@command.command("rotate-root")
@click.option("--no-wait", is_flag=True, help="Return when it has begun; the control plane goes on with it.")
@output_option()
@mesh_options
@click.pass_obj
def rotate_root(settings: Settings, no_wait: bool, output: str) -> None:
    """Change the root certificate without an outage, and wait until it is done.

    Three phases, each until every proxy has acknowledged it: the new root is trusted besides the old one; the
    new one signs; the old one is trusted no more. The control plane goes on by itself if this command or the
    control plane is interrupted; called again, this command waits for what is under way.
    """
    found = asyncio.run(_rotate(settings.home, wait=not no_wait))
    if output != TABLE:
        dump(msgspec.to_builtins(found), output)
    elif found.rotation is None:
        click.echo(f"the root is {_roots(found)}")
    else:
        click.echo(f"under way: {_progress(found)}")


@command.command()
@click.argument("spiffe_id")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with it.")
@mesh_options
@click.pass_obj
def revoke(settings: Settings, spiffe_id: str, reason: str) -> None:
    """Have nobody accept SPIFFE_ID any more, and wait until every proxy knows.

    Its connections are ended, and it gets no certificate. Those of others are closed, too, and made anew.
    """
    asyncio.run(_revoke(settings.home, spiffe_id, reason))
    click.echo(f"{spiffe_id} is revoked")


@command.command()
@click.argument("spiffe_id")
@mesh_options
@click.pass_obj
def reinstate(settings: Settings, spiffe_id: str) -> None:
    """Take back that SPIFFE_ID is revoked."""
    asyncio.run(_reinstate(settings.home, spiffe_id))
    click.echo(f"{spiffe_id} is accepted again")


async def _revoke(home: Home, spiffe_id: str, reason: str) -> None:
    async with open_api(home) as store:
        revoked = {
            "apiVersion": "policy.marline.io/v1alpha1",
            "kind": "RevokedIdentity",
            "metadata": {"name": _name(spiffe_id)},
            "spec": {"spiffeId": spiffe_id, "reason": reason},
        }
        made = await store.apply(revoked, field_manager="marline", force=True)
        awaited = {SETTLED_AT: made.metadata.resource_version, TIMEOUT_SECONDS: _WAIT_SECONDS}
        async with progress("waiting for proxies"):
            found = await connected_proxies(store, **awaited)
        waiting = [item.node_id for item in found.proxies if item.state == PENDING]
        if waiting:
            raise Unavailable(f"it is revoked, but {', '.join(waiting)} still has to hear of it")


async def _reinstate(home: Home, spiffe_id: str) -> None:
    async with open_api(home) as store:
        found = [item for item in await store.list_objects("policy.marline.io", "RevokedIdentity")
                 if item["spec"]["spiffeId"] == spiffe_id]  # fmt: skip
        if not found:
            raise Missing(f"{spiffe_id} is not revoked")
        for item in found:
            await store.delete(Ref("policy.marline.io", "RevokedIdentity", "", item["metadata"]["name"]))


def _name(spiffe_id: str) -> str:
    """A name of its own for each identity, whatever letters it has."""
    return f"identity-{hashlib.sha256(spiffe_id.encode()).hexdigest()[:16]}"


async def _rotate(home: Home, *, wait: bool) -> CaStatus:
    async with open_api(home) as store:
        found = await ask(store, CaRequest("rotate"))
        return await rotated(store, found) if wait else found


async def rotated(store: RemoteStore, found: CaStatus) -> CaStatus:
    """Wait until a change of the root is done, and say how it goes."""
    told = ""
    while found.rotation is not None:
        if told != _progress(found):
            told = _progress(found)
            click.echo(told, err=True)
        await asyncio.sleep(_LOOK_SECONDS)
        with contextlib.suppress(Unavailable):  # it is started again, and goes on
            found = await ask(store)
    return found


async def _ask(home: Home) -> CaStatus:
    async with open_api(home) as store:
        return await ask(store)


async def ask(store: RemoteStore, request: CaRequest | None = None) -> CaStatus:
    """What the control plane says of its authority, after it has done what is asked. Raises `StoreError`."""
    method = "GET" if request is None else "POST"
    answer = await store.request(method, PATH, body=msgspec.to_builtins(request) if request else None)
    try:
        return msgspec.json.decode(answer.body, type=CaStatus)
    except msgspec.DecodeError as error:
        raise StoreError(f"the control plane's answer cannot be read: {error}") from error


def _progress(found: CaStatus) -> str:
    if found.rotation is None:
        return "done"
    phase = f"phase {found.rotation.phase}"
    if not found.pending:
        return phase
    names = ", ".join(found.pending[:_SHOWN_PENDING])
    more = ", …" if len(found.pending) > _SHOWN_PENDING else ""
    return f"{phase}; not acknowledged by {len(found.pending)} of {found.proxies}: {names}{more}"


def _roots(found: CaStatus) -> str:
    return ", ".join(item.fingerprint[:16] for item in found.certificates if item.role == "root")


def _lines(found: CaStatus) -> Iterator[str]:
    yield f"trust domain   {found.trust_domain}"
    yield f"authority      {'its own' if found.source == 'own' else found.source}"
    have = found.proxies - len(found.pending)
    yield f"proxies        {have} of {found.proxies} have its newest certificates"
    if found.rotation is not None:
        yield f"change of root {_progress(found)}"
    yield ""
    now = time.time()
    columns = (
        Column[Certificate]("CERTIFICATE", lambda item: item.role),
        Column[Certificate]("OF", lambda item: item.name),
        Column[Certificate]("ENDS IN", lambda item: _days(item.not_after - now), right=True),
        Column[Certificate]("SHA-256", lambda item: item.fingerprint[:16]),
    )
    yield table([item for item in found.certificates if item.role != "workload"], columns)


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.1f} hours"
