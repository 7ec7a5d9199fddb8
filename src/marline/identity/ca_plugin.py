"""An authority of one's own choice, in files named as for Istio ("Plug in CA Certificates")."""

from pathlib import Path
from typing import Final

from marline.identity.ca import Authority
from marline.identity.ca_checks import check_key_belongs, made_authority, read_certificates, read_key
from marline.identity.errors import InvalidAuthority

CERTIFICATE_FILE: Final = "ca-cert.pem"
KEY_FILE: Final = "ca-key.pem"
ROOTS_FILE: Final = "root-cert.pem"
CHAIN_FILE: Final = "cert-chain.pem"


def load_plugin(directory: Path, trust_domain: str, now: float) -> Authority:
    """The authority in these files: who signs (`ca-cert.pem`, `ca-key.pem`), the trust bundle
    (`root-cert.pem`), and what leads from one to the other (`cert-chain.pem`; not needed if nothing does).

    Raises `InvalidAuthority`, which names the file at fault.
    """
    path = directory / CERTIFICATE_FILE
    certificate, *more = read_certificates(path)
    key = read_key(directory / KEY_FILE)
    check_key_belongs(directory / KEY_FILE, key, certificate)
    roots = read_certificates(directory / ROOTS_FILE)
    for root in roots:
        if root.issuer != root.subject:
            name = root.subject.rfc4514_string()
            raise InvalidAuthority(str(directory / ROOTS_FILE), f"{name} is not a root: another issued it")
    chain = directory / CHAIN_FILE
    others = read_certificates(chain) if chain.exists() else ()
    return made_authority(path, certificate, key, (*more, *others), roots, trust_domain, now)
