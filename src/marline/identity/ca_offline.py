"""An authority whose root's key is kept elsewhere: what signs workloads is certified there, and brought here.

On the machine of the root: `make_root`, then `sign_request` for each request. In the mesh's home:
`make_request` (the key that it is for stays here), then `import_signed`. A certificate by the root that the
mesh has replaces the one that signs now; one by another root begins a change to that root.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from marline.identity.ca import pem, read_csr
from marline.identity.ca_checks import (
    check_authority,
    check_key_belongs,
    check_names,
    made_authority,
    read_certificates,
    read_key,
)
from marline.identity.ca_home import Files, kept, sign_intermediate, write_root
from marline.identity.errors import InvalidAuthority
from marline.identity.files import PRIVATE, PUBLIC, write_whole
from marline.identity.root_rotation import IMPORTED, NEXT, REQUEST_KEY, begin, under_way
from marline.identity.svid import key_pem, make_csr, make_key


def make_root(directory: Path, trust_domain: str, now: float) -> None:
    """A root and its key, in a directory that has none. Raises `InvalidAuthority`."""
    with kept(directory):
        files = Files(directory)
        if files.path("root.pem").exists():
            raise InvalidAuthority(str(files.path("root.pem")), "is there already")
        write_root(files, trust_domain, now)


def make_request(directory: Path) -> str:
    """A signing request for a key that is kept in the authority's directory; the same until it is answered.

    Raises `InvalidAuthority`.
    """
    with kept(directory):
        path = directory / REQUEST_KEY
        if not path.exists():
            write_whole(path, key_pem(make_key()), PRIVATE)
        key = read_key(path)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidAuthority(str(path), "is not the key of a request; remove it")
        return make_csr(key)


def sign_request(directory: Path, csr_pem: str, now: float) -> str:
    """The answer to a request, by the root in this directory: the certificate and the root.

    Raises `InvalidAuthority`, `CsrRefused`.
    """
    path = directory / "root.pem"
    root, key = read_certificates(path)[0], read_key(directory / "root.key")
    check_key_belongs(directory / "root.key", key, root)
    check_authority(path, root, 1, now)
    certificate = sign_intermediate(read_csr(csr_pem), root, key, trust_domain_of(path, root), now)
    return pem(certificate, root)


def trust_domain_of(path: Path, root: x509.Certificate) -> str:
    """The one that a root says it is for. Raises `InvalidAuthority`."""
    try:
        names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if uri.startswith("spiffe://"):
            return uri.removeprefix("spiffe://")
    raise InvalidAuthority(str(path), "names no trust domain (a URI spiffe://<trust domain>)")


def import_signed(directory: Path, answer: Path, trust_domain: str, now: float) -> bool:
    """Take what `sign_request` has answered. Returns whether a change of the root has begun.

    Raises `InvalidAuthority`.
    """
    certificate, *others = read_certificates(answer)
    if not others:
        raise InvalidAuthority(str(answer), "has one certificate; expected it and the root that signed it")
    root = others[-1]
    check_names(answer, root, trust_domain)
    with kept(directory):
        if under_way(directory) is not None:
            raise InvalidAuthority(str(directory), "the root is being changed; wait until that is done")
        key_path = directory / REQUEST_KEY
        check_key_belongs(key_path, read_key(key_path), certificate)
        made_authority(answer, certificate, read_key(key_path), (), (root,), trust_domain, now)
        path = directory / "root.pem"
        if path.exists() and read_certificates(path)[0] != root:
            (directory / f"{NEXT}root.key").unlink(missing_ok=True)
            write_whole(directory / f"{NEXT}root.pem", pem(root), PUBLIC)
            key_path.rename(directory / f"{NEXT}ca.key")
            write_whole(directory / f"{NEXT}ca.pem", pem(certificate), PUBLIC)
            begin(directory, now, offline=True)
            return True
        write_whole(path, pem(root), PUBLIC)
        # From here on whoever opens the authority finishes it.
        write_whole(directory / IMPORTED, pem(certificate), PUBLIC)
    return False
