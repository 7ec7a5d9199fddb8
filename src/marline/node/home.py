"""$MARLINE_HOME: where everything that a running mesh writes is, and what is fixed about that mesh."""

import fcntl
import os
import secrets
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from marline.identity.federation_config import ShownBundle, TrustedDomain
from marline.node.errors import AlreadyRunning, HomeUnusable

VARIABLE: Final = "MARLINE_HOME"
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path that Linux takes (unix(7)), without the final zero."""
_LONGEST_SOCKET: Final = "run/w/0123456789/admin.sock"
_WRITABLE_BY_ALL: Final = 0o002
_LOCK: Final = "hhqqi"
"""struct flock of fcntl(2): type, whence, start, length, pid."""

_SYSTEM_DIRECTORY: Final = Path("/run/marline")

MeshId = Annotated[str, Meta(pattern=r"^[0-9a-f]{6}$")]


class MeshConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`mesh.json`: what is fixed about a mesh while it lives. Made at the first `marline up`."""

    mesh_id: MeshId
    """Six hexadecimal digits; part of the names of all kernel objects, so that meshes do not collide."""
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    api_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The loopback port of the API server; never 0 once the mesh was started."""
    svid_ttl_seconds: int = 24 * 3600
    capture: str = "explicit"
    """`explicit` or `transparent`: how the node agent captures traffic."""
    audit_file_bytes: Annotated[int, Meta(ge=1024)] = 16 * 1024 * 1024
    """How large a file of the audit log becomes before the next one is begun."""
    audit_files: Annotated[int, Meta(ge=2)] = 64
    """How many files of the log of changes are kept."""
    audit_request_files: Annotated[int, Meta(ge=2)] = 64
    """How many files of the log of audited requests are kept."""
    federates_with: tuple[TrustedDomain, ...] = ()
    """Other trust domains whose workloads are known by their own identities."""
    bundle_endpoint: ShownBundle | None = None
    """Where others fetch this mesh's trust bundle; None: nowhere."""
    plugin_ca: str = ""
    """Directory with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem; "": an own authority."""


@dataclass(frozen=True, slots=True)
class WorkloadDirectory:
    """`run/w/<id>/`: the sockets and files of one proxy."""

    path: Path

    @property
    def admin_socket(self) -> Path:
        return self.path / "admin.sock"

    @property
    def sds_socket(self) -> Path:
        return self.path / "sds.sock"

    @property
    def bootstrap(self) -> Path:
        return self.path / "bootstrap.json"

    @property
    def record(self) -> Path:
        return self.path / "workload.json"

    @property
    def resolv_conf(self) -> Path:
        return self.path / "resolv.conf"


@dataclass(frozen=True, slots=True)
class Home:
    """The layout below one directory."""

    path: Path

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def config_file(self) -> Path:
        return self.path / "mesh.json"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def database(self) -> Path:
        return self.data / "marline.db"

    @property
    def ca(self) -> Path:
        return self.data / "ca"

    @property
    def api(self) -> Path:
        return self.data / "api"

    @property
    def jwt_keys(self) -> Path:
        """The keys that JWT-SVIDs are signed with."""
        return self.data / "jwt" / "keys.json"

    @property
    def federation(self) -> Path:
        """The last good bundles of other trust domains."""
        return self.data / "federation"

    @property
    def key_sets(self) -> Path:
        """The last good key sets of token issuers."""
        return self.data / "jwks"

    @property
    def audit(self) -> Path:
        """The log of who changed what."""
        return self.data / "audit"

    @property
    def requests(self) -> Path:
        """The log of audited requests."""
        return self.data / "requests"

    @property
    def request_spool(self) -> Path:
        """What Envoys have written of audited requests, on its way into the log."""
        return self.requests / "spool"

    @property
    def policy_matches(self) -> Path:
        """When rules of AuthorizationPolicies have last matched."""
        return self.data / "policy-matches.json"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def modules(self) -> Path:
        """WebAssembly modules; proxies find them from their own directories (`MeshSettings`)."""
        return self.run / "wasm"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def xds_socket(self) -> Path:
        return self.run / "xds.sock"

    @property
    def rate_limit_socket(self) -> Path:
        return self.run / "limits.sock"

    @property
    def node_socket(self) -> Path:
        return self.run / "node.sock"

    @property
    def notify_socket(self) -> Path:
        return self.run / "notify.sock"

    @property
    def node_pid(self) -> Path:
        return self.run / "node.pid"

    @property
    def workloads(self) -> Path:
        return self.run / "w"

    def workload(self, short_id: str) -> WorkloadDirectory:
        return WorkloadDirectory(self.workloads / short_id)

    @property
    def workload_api(self) -> Path:
        """The node agent's socket of the Workload API, for those who reach it here."""
        return self.run / "spiffe.sock"

    def endpoint_directory(self, config: MeshConfig) -> Path:
        """Where the sockets of the Workload API are. Root's workloads may run as any user, and no other user
        reaches what is below a home."""
        return _SYSTEM_DIRECTORY / config.mesh_id if os.geteuid() == 0 else self.run

    def remove_endpoint(self, config: MeshConfig) -> None:
        """Remove what was made outside the home, as far as nobody uses it any more."""
        if os.geteuid() == 0:
            with suppress(OSError):
                self.endpoint_directory(config).rmdir()
                self.workload_api.unlink(missing_ok=True)
                _SYSTEM_DIRECTORY.rmdir()

    def sweep_endpoint(self, config: MeshConfig) -> None:
        """Remove what killed processes have left of it."""
        for path in self.endpoint_directory(config).glob("spiffe*.sock"):
            path.unlink(missing_ok=True)
        self.remove_endpoint(config)

    def check_length(self) -> None:
        """Raises `HomeUnusable` if the Unix sockets below it would have too long paths."""
        if len(os.fsencode(self.path / _LONGEST_SOCKET)) > MAX_SOCKET_PATH:
            spare = MAX_SOCKET_PATH - len(_LONGEST_SOCKET) - 1
            raise HomeUnusable(
                str(self.path),
                f"the path is too long for the Unix sockets below it; choose one of at most {spare} bytes",
            )

    def create(self) -> None:
        """Make the directories, for their owner only. Raises `HomeUnusable`."""
        self.check_length()
        for directory in (self.path, self.data, self.run, self.workloads, self.log):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = directory.stat()
            except OSError as error:
                raise HomeUnusable(str(directory), f"cannot be written: {error.strerror}") from error
            _check_owner(directory, found)


def _check_owner(directory: Path, found: os.stat_result) -> None:
    """Whoever may write to it could put sockets and files of their own in the place of the mesh's."""
    if found.st_uid != os.geteuid():
        raise HomeUnusable(
            str(directory),
            f"belongs to user {found.st_uid}, but this is user {os.geteuid()}; choose another home",
        )
    if found.st_mode & _WRITABLE_BY_ALL:
        raise HomeUnusable(
            str(directory), f"can be written by everybody; choose another home, or chmod o-w {directory}"
        )


def find_home(given: str | None = None, environment: Mapping[str, str] = os.environ) -> Home:
    """The home that a user means: given, else `$MARLINE_HOME`, else `~/.marline`. Raises `HomeUnusable`."""
    chosen = given or environment.get(VARIABLE) or "~/.marline"
    try:
        return Home(Path(chosen).expanduser().absolute())
    except RuntimeError as error:  # a `~` of a user who has no home directory
        raise HomeUnusable(chosen, f"{error}; give a whole path") from error


def load_config(home: Home) -> MeshConfig | None:
    """What `mesh.json` says, or None before the first start. Raises `HomeUnusable`."""
    try:
        return msgspec.json.decode(home.config_file.read_bytes(), type=MeshConfig)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise HomeUnusable(str(home.config_file), f"cannot be read: {error}") from error


def save_config(home: Home, config: MeshConfig) -> None:
    """Raises `HomeUnusable`."""
    try:
        write_private(home.config_file, msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
    except OSError as error:
        raise HomeUnusable(str(home.config_file), f"cannot be written: {error.strerror}") from error


def new_mesh_id() -> str:
    return secrets.token_hex(3)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once with one that only its owner can read."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def hold(home: Home) -> Iterator[None]:
    """Be the one node agent of this home; the kernel lets go if the process dies.

    It is a lock of the process (fcntl(2), F_SETLK), whose holder the kernel names: nobody has to trust a
    number in a file, which may be another process's by now. It is lost when this process closes the file
    anywhere, so it must not ask for its own lock. Raises `AlreadyRunning`.
    """
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.node_pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise AlreadyRunning(str(home.path), _holder(descriptor)) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def agent_pid(home: Home) -> int | None:
    """The process that holds this home, or None."""
    try:
        descriptor = os.open(home.node_pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _holder(descriptor) or None
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int:
    """Who holds a lock on this file, asked without taking it for a moment; 0: nobody."""
    asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_LOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)
