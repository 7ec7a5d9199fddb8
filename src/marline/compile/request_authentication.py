"""RequestAuthentication at Envoy: how tokens are verified, and where their claims are.

envoyproxy.io, "JWT Authentication" (HTTP filter). As at Istio's proxies, the payload of a verified token
is in the request's dynamic metadata: under the filter's name, in `payload`. Whoever asks for a claim
(routes, authorization, rate limits) names it by `claim_path`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.type.matcher.v3 import metadata_pb2, value_pb2

from marline.api.resource import Ref
from marline.api.security.jwks import MalformedKeys, read_keys
from marline.api.security.request_authentication import JWTHeader, JWTRule
from marline.compile.token_cookies import take_cookies
from marline.mesh.model import Proxy, Workload
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.token_keys import key_source
from marline.mesh.workload_policies import policies_for

FILTER: Final = "envoy.filters.http.jwt_authn"
"""The name of the filter, and the namespace of its metadata."""
PAYLOAD: Final = "payload"
"""The key under which the claims are: `{"payload": {"iss": …, "sub": …}}`."""
SPACE_DELIMITED: Final = ("scope", "permission")
"""Claims that are lists in the metadata, whatever the token has: their text is split at spaces (Istio,
`JWTRule.spaceDelimitedClaims`)."""
_STRIPPING: Final = "envoy.http.early_header_mutation.header_mutation"
_NO_KEYS: Final = (
    '{"keys":[{"crv":"P-256","kid":"no-keys","kty":"EC","x":"N1R_JcgWB5cXOsC28tQFiUC0w8Z75FC8Ux_hFaCI_6A",'
    '"y":"QVf78INnjS64ER-Q6mmf0iLJ1wOzy7M-Xr_OF68EeU8"}]}'
)
"""While there are no keys all tokens are refused, as by Istio's proxies. Envoy demands one key: of this one
nobody has the private half, since x is the SHA-256 of the text `marline: nobody has this key 2`."""


class Place(NamedTuple):
    """Where a token may be."""

    kind: str
    """`header`, `parameter` or `cookie`."""
    name: str


_BEARER: Final = JWTHeader("Authorization", "Bearer ")
DEFAULT_PLACES: Final = frozenset({Place("header", "authorization"), Place("parameter", "access_token")})
"""Where a token is looked for if a rule does not say (Envoy, `JwtProvider`)."""


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How tokens of one issuer are verified."""

    rule: JWTRule
    keys: str = ""
    """The key set, if it was fetched; "": there is none, unless the rule itself has it."""

    @property
    def key_set(self) -> str:
        if not self.rule.jwks:
            return self.keys or _NO_KEYS
        try:
            return read_keys(self.rule.jwks).document
        except MalformedKeys:  # written before keys were read as strictly as today
            return _NO_KEYS

    @property
    def places(self) -> frozenset[Place]:
        """Where it looks for a token."""
        rule = self.rule
        named = [
            *(Place("header", header.name.lower()) for header in rule.from_headers),
            *(Place("parameter", name) for name in rule.from_params),
            *(Place("cookie", name) for name in rule.from_cookies),
        ]
        return frozenset(named) or DEFAULT_PLACES

    @property
    def headers(self) -> tuple[str, ...]:
        """Those that are written for whoever gets the request."""
        payload = self.rule.output_payload_to_header
        claims = (item.header for item in self.rule.output_claim_to_headers)
        return (*((payload,) if payload else ()), *claims)


@dataclass(frozen=True, slots=True)
class Authentication:
    """Which tokens a workload accepts."""

    rules: tuple[TokenRule, ...] = ()
    sources: tuple[Ref, ...] = ()


def authentication(snapshot: MeshSnapshot, proxy: Proxy, workload: Workload) -> Authentication:
    """All rules of all policies for a workload, by issuer, as in Istio."""
    tokens = snapshot.rules.tokens
    policies = tuple(policies_for(snapshot, tokens.policies, proxy, workload))
    found = sorted((rule for item in policies for rule in item.spec.jwt_rules), key=lambda rule: rule.issuer)
    sources = ((rule, key_source(rule)) for rule in found)
    rules = (TokenRule(rule, tokens.keys.get(source, "") if source else "") for rule, source in sources)
    return Authentication(tuple(rules), tuple(item.ref for item in policies))


def authenticate(manager: Any, rules: tuple[TokenRule, ...], *, reroutes: bool = False) -> None:
    """Let a connection manager verify tokens. `reroutes`: which route a request gets may depend on what its
    token says.

    The filter takes headers away that only verified tokens are to write. By then a route is chosen, so where
    that matters they are taken away before.
    """
    if not rules:
        return
    headers = dict.fromkeys(name.lower() for item in rules for name in item.headers)
    if headers and reroutes:
        stripping = header_mutation_pb2.HeaderMutation()
        for name in headers:
            stripping.mutations.add(remove=name)
        manager.early_header_mutation_extensions.add(name=_STRIPPING).typed_config.Pack(stripping)
    config = build_authentication(rules, reroutes=reroutes)
    manager.http_filters.add(name=FILTER).typed_config.Pack(config)
    kept = [name for item in rules if item.rule.forward_original_token for name in item.rule.from_cookies]
    take_cookies(manager, {name for item in rules for name in item.rule.from_cookies}.difference(kept))


def build_authentication(rules: tuple[TokenRule, ...], *, reroutes: bool) -> Any:
    """The configuration of Envoy's filter. Without a token a request passes; each token that it has, at a
    place where rules look for one, must be valid by one of the rules that look there.

    In Istio one valid token opens the door for invalid ones at other places, where rules of other issuers
    look, and such requests are called unsupported ("RequestAuthentication" reference).
    """
    made = config_pb2.JwtAuthentication(bypass_cors_preflight=True)
    for index, item in enumerate(rules):
        made.providers[_name(index)].CopyFrom(_provider(item, reroutes=reroutes))
    alternatives: list[list[str]] = []
    for group in _sharing_places(rules):
        if len({rules[index].places for index in group}) > 1:
            alternatives.extend(_place_by_place(made, rules, group))
        alternatives.append([_name(index) for index in group])
    rule = made.rules.add()
    rule.match.prefix = "/"
    for names in alternatives:
        alone = len(alternatives) == 1
        _any_or_missing(rule.requires if alone else rule.requires.requires_all.requirements.add(), names)
    return made


def _name(index: int) -> str:
    """Of a rule's provider, as in Istio."""
    return f"origins-{index}"


def _any_or_missing(made: Any, providers: Iterable[str]) -> None:
    for name in providers:
        made.requires_any.requirements.add().provider_name = name
    made.requires_any.requirements.add().allow_missing.SetInParent()


def _sharing_places(rules: tuple[TokenRule, ...]) -> list[list[int]]:
    """The rules by their indices, together those that look for a token at the same place."""
    groups: list[tuple[list[int], frozenset[Place]]] = []
    for index, item in enumerate(rules):
        members, places = [index], item.places
        for group in [each for each in groups if not each[1].isdisjoint(item.places)]:
            groups.remove(group)
            members, places = [*group[0], *members], places | group[1]
        groups.append((members, places))
    return [sorted(members) for members, _ in groups]


def _place_by_place(made: Any, rules: tuple[TokenRule, ...], group: list[int]) -> Iterator[list[str]]:
    """Of rules that share only some of their places: to Envoy a good token of one is enough, whatever is at
    the other places of another. So the tokens at each place are verified before, by providers that write
    nothing."""
    for place in sorted({place for index in group for place in rules[index].places}):
        names = []
        for index in (index for index in group if place in rules[index].places):
            name = f"{_name(index)}-{place.kind}-{place.name}"
            made.providers[name].CopyFrom(_provider_at(rules[index], place))
            names.append(name)
        yield names


def _provider(item: TokenRule, *, reroutes: bool) -> Any:
    rule = item.rule
    made = _verifier(item)
    made.from_params.extend(rule.from_params)
    made.from_cookies.extend(rule.from_cookies)
    made.forward = rule.forward_original_token
    made.forward_payload_header = rule.output_payload_to_header
    made.payload_in_metadata = PAYLOAD
    made.clear_route_cache = reroutes
    for header in rule.from_headers:
        made.from_headers.add(name=header.name, value_prefix=header.prefix)
    for output in rule.output_claim_to_headers:
        made.claim_to_headers.add(header_name=output.header, claim_name=output.claim)
    lists: Iterable[str] = dict.fromkeys((*SPACE_DELIMITED, *rule.space_delimited_claims))
    made.normalize_payload_in_metadata.space_delimited_claims.extend(lists)
    return made


def _provider_at(item: TokenRule, place: Place) -> Any:
    made = _verifier(item)
    made.forward = True
    if place.kind == "parameter":
        made.from_params.append(place.name)
    elif place.kind == "cookie":
        made.from_cookies.append(place.name)
    else:
        for header in item.rule.from_headers or (_BEARER,):
            if header.name.lower() == place.name:
                made.from_headers.add(name=header.name, value_prefix=header.prefix)
    return made


def _verifier(item: TokenRule) -> Any:
    made = config_pb2.JwtProvider(issuer=item.rule.issuer, audiences=item.rule.audiences)
    made.local_jwks.inline_string = item.key_set
    return made


def claim_path(claims: Sequence[str]) -> tuple[str, ...]:
    """Where a claim stands in the metadata of `FILTER`; of a nested claim all names, from the outside in."""
    return (PAYLOAD, *claims)


def claim_matcher(claims: Sequence[str], value: Any | None) -> Any:
    """An Envoy `MetadataMatcher`: is the claim a text for this `StringMatcher`, or a list with such a text in
    it? With None: is there the claim at all?"""
    made = metadata_pb2.MetadataMatcher(filter=FILTER)
    for name in claim_path(claims):
        made.path.add(key=name)
    if value is None:
        made.value.present_match = True
    else:
        alone = value_pb2.ValueMatcher(string_match=value)
        made.value.or_match.value_matchers.add().string_match.CopyFrom(value)
        made.value.or_match.value_matchers.add().list_match.one_of.CopyFrom(alone)
    return made
