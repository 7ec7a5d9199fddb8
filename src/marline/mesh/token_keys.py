"""Where the keys of tokens come from, and those that were fetched: by the control plane, not by proxies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from marline.api.resource import Resource
from marline.api.security.request_authentication import JWTRule, RequestAuthenticationSpec

DISCOVERY: Final = "/.well-known/openid-configuration"
"""Where an issuer says of itself what others must know (OpenID Connect Discovery 1.0, section 4)."""
_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, order=True)
class KeySource:
    """Where a key set can be had."""

    url: str
    discovers: bool = False
    """The URL is of an issuer's OpenID configuration, which says where the key set is."""
    timeout: float = _TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """The key set of a source."""

    source: KeySource
    document: str
    """Only usable keys, as JSON (`api.security.jwks`)."""


def key_source(rule: JWTRule) -> KeySource | None:
    """None if the rule has its keys in itself."""
    if rule.jwks:
        return None
    timeout = float(rule.timeout) if rule.timeout is not None else _TIMEOUT_SECONDS
    if rule.jwks_uri:
        return KeySource(rule.jwks_uri, timeout=timeout)
    return KeySource(rule.issuer.rstrip("/") + DISCOVERY, discovers=True, timeout=timeout)


def key_sources(item: Resource[RequestAuthenticationSpec]) -> Iterator[KeySource]:
    """All of a policy's."""
    for rule in item.spec.jwt_rules:
        source = key_source(rule)
        if source is not None:
            yield source
