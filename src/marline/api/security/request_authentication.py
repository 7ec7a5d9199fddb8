"""RequestAuthentication: which tokens of end users a workload accepts (istio.io reference, also `JWTRule`).

A request without a token passes; one with a token that is not valid is answered with 401. That there must be
one is for AuthorizationPolicy to say.
"""

import re
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.refusals import Refusals
from marline.api.resource import Resource
from marline.api.scalars import Duration
from marline.api.security.jwks import MalformedKeys, read_keys

_MAX_RULES: Final = 4096
_MAX_NAMES: Final = 64
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_COOKIE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A cookie's name (RFC 6265, 4.1.1)."""
_NEVER_WRITTEN: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers on which the request's framing and routing depend."""


class JWTHeader(Model, frozen=True):
    """A header that may have the token, after a prefix such as `Bearer `."""

    name: str
    prefix: str = ""


class ClaimToHeader(Model, frozen=True):
    """A claim of a verified token that is copied to a header."""

    header: str
    claim: str
    """Nested ones with dots between the names."""


class JWTRule(Model, frozen=True):
    """Tokens of one issuer.

    Without `fromHeaders`, `fromParams` and `fromCookies` a token is looked for in `Authorization: Bearer`,
    then in the query parameter `access_token`. Keys come from `jwks`, or from `jwksUri`, or from where the
    issuer's OpenID configuration says. For late clocks a token may be used for a minute longer than it says.
    """

    issuer: str = ""
    """Not given: any, if `jwksUri` is."""
    audiences: tuple[str, ...] = ()
    """One of them must be one of the token's."""
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    """The verified payload goes on in this header, base64url-encoded."""
    forward_original_token: bool = False
    """The token goes on, too."""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    """How long fetching keys may take; default 5s."""
    space_delimited_claims: Annotated[tuple[str, ...], Meta(max_length=_MAX_NAMES)] = ()
    """Claims that are lists with spaces between, beside `scope` and `permission`."""


class RequestAuthenticationSpec(Model, frozen=True):
    selector: Selector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: Annotated[tuple[JWTRule, ...], Meta(max_length=_MAX_RULES)] = ()

    @property
    def targets(self) -> tuple[PolicyTargetReference, ...]:
        """`targetRef` is the older form of one `targetRefs`."""
        return (self.target_ref,) if self.target_ref is not None else self.target_refs


REFUSED: Final[Refusals] = {
    "targetRef.namespace": "a target is in the namespace of its RequestAuthentication",
    "targetRefs[].namespace": "a target is in the namespace of its RequestAuthentication",
}


def validate(resource: Resource[RequestAuthenticationSpec], faults: Faults) -> None:
    """Istio's rules for a RequestAuthentication, and what Envoy would refuse."""
    spec = resource.spec
    given = [item for item in (spec.selector, spec.target_ref, spec.target_refs) if item]
    if len(given) > 1:
        faults.add("expected at most one of selector, targetRef and targetRefs")
    if spec.selector is not None:
        rules.labels(spec.selector.match_labels, faults.at("selector").at("matchLabels"))
    rules.gateway_targets(spec.target_refs, faults.at("targetRefs"))
    if spec.target_ref is not None:
        rules.gateway_target(spec.target_ref, faults.at("targetRef"))
    for index, rule in enumerate(spec.jwt_rules):
        _rule(rule, faults.at("jwtRules").item(index))


def _rule(rule: JWTRule, faults: Faults) -> None:
    if not rule.issuer and not rule.jwks_uri:
        faults.at("issuer").add("is required unless there is a jwksUri", Fault.REQUIRED)
    for index, audience in enumerate(rule.audiences):
        faults.at("audiences").item(index).require(audience, "is empty; expected an audience")
    _keys(rule, faults)
    rules.duration(rule.timeout, faults.at("timeout"))
    for index, header in enumerate(rule.from_headers):
        rules.header_name(header.name, faults.at("fromHeaders").item(index).at("name"))
    for index, name in enumerate(rule.from_params):
        faults.at("fromParams").item(index).require(name, "is empty; expected a name")
    for index, name in enumerate(rule.from_cookies):
        if not _COOKIE.fullmatch(name):
            faults.at("fromCookies").item(index).add(f"{name!r} is not a cookie's name")
    if rule.output_payload_to_header:
        _output_header(rule.output_payload_to_header, faults.at("outputPayloadToHeader"))
    for index, output in enumerate(rule.output_claim_to_headers):
        where = faults.at("outputClaimToHeaders").item(index)
        where.required(output.claim, "claim")
        if where.required(output.header, "header"):
            _output_header(output.header, where.at("header"))
    headers = [rule.output_payload_to_header, *(item.header for item in rule.output_claim_to_headers)]
    written = [name.lower() for name in headers if name]
    if len(set(written)) < len(written):
        faults.at("outputClaimToHeaders").add("writes a header that is written already; expected one each")
    for index, claim in enumerate(rule.space_delimited_claims):
        faults.at("spaceDelimitedClaims").item(index).require(claim, "is empty; expected a claim")


def _output_header(name: str, faults: Faults) -> None:
    rules.header_name(name, faults)
    if name.startswith(":") or name.lower() in _NEVER_WRITTEN:
        faults.add(f"{name!r} cannot be written: how requests are read or routed depends on it")


def _keys(rule: JWTRule, faults: Faults) -> None:
    if rule.jwks and rule.jwks_uri:
        faults.at("jwks").add("expected either jwks or jwksUri, found both")
    if rule.jwks:
        try:
            found = read_keys(rule.jwks)
        except MalformedKeys as error:
            faults.at("jwks").add(str(error))
        else:
            for fault in found.faults:
                faults.at("jwks").add(fault)
    elif rule.jwks_uri:
        _url(rule.jwks_uri, faults.at("jwksUri"))
    elif rule.issuer:
        _discovered(rule.issuer, faults.at("issuer"))


def _url(text: str, faults: Faults) -> SplitResult | None:
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() or not character.isprintable() for character in text):
        faults.add(f"{text!r} is not an http or https URL")
        return None
    if url.username is not None or url.password is not None:
        faults.add("has a user name or a password, which a key set needs not; leave them out")
    if url.fragment:
        faults.add("has a fragment, which no server is asked for; leave it out")
    return url


def _discovered(issuer: str, faults: Faults) -> None:
    """Without keys of its own a rule needs an issuer that says where they are (OpenID Connect Discovery)."""
    where = Faults(faults.path)
    url = _url(issuer, where)
    if url is None or where.errors:
        faults.add(
            f"{issuer!r} is no URL to ask for the issuer's keys; give them in jwks, or say where they are in "
            "jwksUri"
        )
    elif url.scheme == "http" and not is_loopback(url.hostname or ""):
        faults.add(f"{issuer!r} would be asked for its keys without encryption; expected https, or a jwksUri")


def is_loopback(host: str) -> bool:
    """Is a host this machine, by its name?"""
    return _LOOPBACK.fullmatch(host) is not None
