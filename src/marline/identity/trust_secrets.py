"""Trust as Envoy's secrets: the bundle of one trust domain, or of several that are never merged.

Each trust domain's roots vouch for its own identities only (SPIFFE Trust Domain and Bundle, section 5.2;
Envoy's `envoy.tls.cert_validator.spiffe`): a certificate is verified with the roots of the trust domain that
its SPIFFE ID names.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_spiffe_validator_config_pb2

from marline.compile.tls import BUNDLE_SECRET, SVID_SECRET
from marline.identity.bundle_document import TrustBundle
from marline.identity.spiffe import trust_domain_id
from marline.identity.svid import Svid

ALL_BUNDLES: Final = "ALL"
_VALIDATOR: Final = "envoy.tls.cert_validator.spiffe"


def svid_secret(name: str, svid: Svid) -> bytes:
    """A certificate with its key."""
    made = secret_pb2.Secret(name=name)
    made.tls_certificate.certificate_chain.inline_bytes = svid.chain_pem.encode()
    made.tls_certificate.private_key.inline_bytes = svid.key_pem.encode()
    return _bytes(made)


def bundle_secret(name: str, bundles: Mapping[str, str]) -> bytes:
    """The roots, in PEM, that a peer of each trust domain is verified with."""
    made = secret_pb2.Secret(name=name)
    if len(bundles) == 1:
        made.validation_context.trusted_ca.inline_bytes = next(iter(bundles.values())).encode()
        return _bytes(made)
    return _bytes(_of_each(made, bundles))


def all_bundles_secret(name: str, bundles: Mapping[str, str]) -> bytes:
    """The same, and a peer of a trust domain that is not among them is refused also if there is only one."""
    return _bytes(_of_each(secret_pb2.Secret(name=name), bundles))


def _of_each(secret: Any, bundles: Mapping[str, str]) -> Any:
    config = tls_spiffe_validator_config_pb2.SPIFFECertValidatorConfig()
    for trust_domain, roots in sorted(bundles.items()):
        config.trust_domains.add(name=trust_domain).trust_bundle.inline_bytes = roots.encode()
    validator = secret.validation_context.custom_validator_config
    validator.name = _VALIDATOR
    validator.typed_config.Pack(config, deterministic=True)
    return secret


def _bytes(secret: Any) -> bytes:
    made: bytes = secret.SerializeToString(deterministic=True)
    return made


def proxy_secrets(svid: Svid, federated: Mapping[str, str]) -> dict[str, bytes]:
    """What an Envoy of the mesh is given of an identity: `default` and `ROOTCA`. `federated`: the roots of
    other trust domains by name."""
    roots = {**federated, svid.spiffe_id.trust_domain: svid.bundle_pem}
    return {
        SVID_SECRET: svid_secret(SVID_SECRET, svid),
        BUNDLE_SECRET: bundle_secret(BUNDLE_SECRET, roots),
    }


def spire_secrets(svids: Iterable[Svid], bundles: Iterable[TrustBundle]) -> dict[str, bytes]:
    """What a workload's own Envoy may ask for, under the names that SPIRE gives (SPIRE documentation, "Using
    Envoy with SPIRE"): `default`, the first SVID; `ROOTCA`, its trust domain's bundle; `ALL`, all bundles;
    and each SVID and each bundle under its SPIFFE ID."""
    held = tuple(svids)
    made = {str(svid.spiffe_id): svid_secret(str(svid.spiffe_id), svid) for svid in held}
    roots = {item.trust_domain: item.roots_pem for item in bundles if item.roots_pem}
    if held:
        first = held[0]
        own = first.spiffe_id.trust_domain
        roots[own] = first.bundle_pem
        made[SVID_SECRET] = svid_secret(SVID_SECRET, first)
        made[BUNDLE_SECRET] = bundle_secret(BUNDLE_SECRET, {own: roots[own]})
    if roots:
        made[ALL_BUNDLES] = all_bundles_secret(ALL_BUNDLES, roots)
    for trust_domain, pem in roots.items():
        name = str(trust_domain_id(trust_domain))
        made[name] = bundle_secret(name, {trust_domain: pem})
    return made
