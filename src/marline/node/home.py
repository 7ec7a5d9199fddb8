"""$MARLINE_HOME: where everything that a running mesh writes is, and what is fixed about that mesh."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from marline.node.errors import AlreadyRunning, HomeUnusable

VARIABLE: Final = "MARLINE_HOME"
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path that Linux takes (unix(7)), without the final zero."""
_LONGEST_SOCKET: Final = "run/w/0123456789/admin.sock"


class MeshConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`mesh.json`: what is fixed about a mesh while it lives. Made at the first `marline up`."""

    mesh_id: str
    """Six hexadecimal digits; part of the names of all kernel objects, so that meshes do not collide."""
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    api_port: int = 0
    """The loopback port of the API server; never 0 once the mesh was started."""
    svid_ttl_seconds: int = 24 * 3600
    capture: str = "explicit"
    """`explicit` or `transparent`: how the node agent captures traffic."""
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
    def run(self) -> Path:
        return self.path / "run"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def xds_socket(self) -> Path:
        return self.run / "xds.sock"

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
        try:
            for directory in (self.path, self.data, self.run, self.workloads, self.log):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.path.stat().st_uid
        except OSError as error:
            raise HomeUnusable(str(self.path), f"cannot be written: {error.strerror}") from error
        if owner != os.geteuid():
            raise HomeUnusable(
                str(self.path),
                f"belongs to user {owner}, but this is user {os.geteuid()}; choose another home",
            )


def find_home(given: str | None = None, environment: Mapping[str, str] = os.environ) -> Home:
    """The home that a user means: given, else `$MARLINE_HOME`, else `~/.marline`."""
    chosen = given or environment.get(VARIABLE) or str(Path.home() / ".marline")
    return Home(Path(chosen).expanduser().absolute())


def load_config(home: Home) -> MeshConfig | None:
    """What `mesh.json` says, or None before the first start. Raises `HomeUnusable`."""
    try:
        return msgspec.json.decode(home.config_file.read_bytes(), type=MeshConfig)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise HomeUnusable(str(home.config_file), f"cannot be read: {error}") from error


def save_config(home: Home, config: MeshConfig) -> None:
    write_private(home.config_file, msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")


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

    Raises `AlreadyRunning`.
    """
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.node_pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(str(home.path), agent_pid(home) or 0) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def agent_pid(home: Home) -> int | None:
    """The process that holds this home, or None."""
    try:
        descriptor = os.open(home.node_pid, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None
