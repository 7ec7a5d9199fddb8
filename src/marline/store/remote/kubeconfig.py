"""Where an API server is and how to prove who one is: kubeconfig files.

Source: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files".
"""

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from marline.store.interface import Unavailable

_UNSUPPORTED: Final = ("exec", "auth-provider", "username", "password", "as")


@dataclass(frozen=True, slots=True)
class Connection:
    """One context of a kubeconfig. Secrets are left out of its representation."""

    server: str
    namespace: str = "default"
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_server_name: str = ""


def load(path: Path, context: str = "") -> Connection:
    """Read a context, the current one by default. Raises `Unavailable` with what is wrong."""
    try:
        config = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise Unavailable(f"there is no kubeconfig at {path}; is the mesh up?") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unavailable(f"cannot read the kubeconfig {path}: {error}") from error
    if not isinstance(config, Mapping):
        raise Unavailable(f"{path} is not a kubeconfig")
    chosen = context or str(config.get("current-context") or "")
    if not chosen:
        raise Unavailable(f"{path} names no current context")
    details = _named(config, "contexts", "context", chosen, path)
    cluster = _named(config, "clusters", "cluster", str(details.get("cluster")), path)
    user = _named(config, "users", "user", str(details.get("user")), path) if details.get("user") else {}
    for name in _UNSUPPORTED:
        if user.get(name):
            raise Unavailable(
                f"{path}: credentials by {name!r} are not supported; use a certificate or token"
            )
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise Unavailable(f"{path}: the server {server!r} is not an http(s) address")
    return Connection(
        server,
        str(details.get("namespace") or "default"),
        _token(user, path),
        _context(cluster, user, path) if server.startswith("https://") else None,
        str(cluster.get("tls-server-name") or ""),
    )


def _named(config: Mapping[str, Any], plural: str, singular: str, name: str, path: Path) -> Mapping[str, Any]:
    for entry in config.get(plural) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry.get(singular) or {}
            return found
    raise Unavailable(f"{path} has no {singular} {name!r}")


def _token(user: Mapping[str, Any], path: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return _read(path.parent / str(user["tokenFile"])).decode().strip()
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error


def _data(section: Mapping[str, Any], name: str, path: Path) -> bytes:
    """The value of `name`, given as base64 in `name-data` or as a path."""
    text = section.get(f"{name}-data")
    if text:
        try:
            return base64.b64decode(str(text), validate=True)
        except binascii.Error as error:
            raise Unavailable(f"{path}: {name}-data is not base64") from error
    return _read(path.parent / str(section[name])) if section.get(name) else b""


def _context(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority", path)
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
        if certificate and key:
            _load_pair(context, certificate + b"\n" + key)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path}: its certificates cannot be used: {error}") from error
    return context


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL reads keys from files only; this one is in memory, so no key lands on a disk."""
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
