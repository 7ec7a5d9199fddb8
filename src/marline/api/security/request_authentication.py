"""RequestAuthentication: which tokens a workload accepts (istio.io reference)."""

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.resource import Resource
from marline.api.scalars import Duration


class JWTHeader(Model, frozen=True):
    name: str
    prefix: str = ""


class ClaimToHeader(Model, frozen=True):
    header: str
    claim: str


class JWTRule(Model, frozen=True):
    issuer: str
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    forward_original_token: bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    space_delimited_claims: tuple[str, ...] = ()


class RequestAuthenticationSpec(Model, frozen=True):
    selector: Selector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: tuple[JWTRule, ...] = ()


def validate(resource: Resource[RequestAuthenticationSpec], faults: Faults) -> None:
    """Istio's rules for a RequestAuthentication."""
    for index, rule in enumerate(resource.spec.jwt_rules):
        where = faults.at("jwtRules").item(index)
        where.required(rule.issuer, "issuer")
        if rule.jwks and rule.jwks_uri:
            where.at("jwks").add("expected either jwks or jwksUri, found both")
        if rule.jwks_uri and not rule.jwks_uri.startswith(("http://", "https://")):
            where.at("jwksUri").add(f"{rule.jwks_uri!r} is not an http or https URL")
        for number, header in enumerate(rule.from_headers):
            rules.header_name(header.name, where.at("fromHeaders").item(number).at("name"))
