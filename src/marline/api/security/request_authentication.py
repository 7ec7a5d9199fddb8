"""RequestAuthentication: which tokens a workload accepts (istio.io reference)."""

from marline.api.model import Model, PolicyTargetReference, Selector
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
