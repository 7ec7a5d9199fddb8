"""Headers of a request that a user asks about, as `-H` takes them."""

from collections.abc import Sequence

import click

header_option = click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header of the request."
)


def header_pairs(headers: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values. Raises `click.UsageError`."""
    found = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"{header!r} is no header; expected NAME:VALUE")
        found.append((name.strip(), value.strip()))
    return found
