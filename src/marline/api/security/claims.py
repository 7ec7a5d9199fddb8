"""How resources name claims of tokens: `sub`, nested ones as `address.country` or `[address][country]`.

istio.io, "JWT claim based routing": in brackets a name may have dots, as claims do that are named by
URLs.
"""

import re
from typing import Final

ROUTING_PREFIX: Final = "@request.auth.claims"
"""What a name of a header begins with in a VirtualService that means a claim."""
_BRACKETS: Final = re.compile(r"(\[[^\[\]]+\])+")


def claim_names(text: str) -> tuple[str, ...] | None:
    """The names from the outside in; None if the text names no claim."""
    if text.startswith("["):
        return tuple(text[1:-1].split("][")) if _BRACKETS.fullmatch(text) else None
    names = tuple(text.split("."))
    return names if all(names) and "[" not in text and "]" not in text else None


def routing_claim(header: str) -> tuple[str, ...] | None:
    """The claim that a header's name in a VirtualService means; None if it means a header."""
    if header[: len(ROUTING_PREFIX)].lower() != ROUTING_PREFIX:
        return None
    rest = header[len(ROUTING_PREFIX) :]
    return claim_names(rest.removeprefix(".")) if rest.startswith((".", "[")) else None
