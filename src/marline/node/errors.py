"""What can go wrong on a machine, each as one sentence that a user can act on."""

from dataclasses import dataclass


class NodeError(Exception):
    """Base of what this room refuses or fails to do."""


@dataclass(eq=False)
class HomeUnusable(NodeError):
    """$MARLINE_HOME cannot be what it has to be."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(eq=False)
class AlreadyRunning(NodeError):
    """Another node agent holds this home."""

    home: str
    pid: int

    def __str__(self) -> str:
        return f"a mesh is running in {self.home} already (process {self.pid}); `marline down` stops it"


@dataclass(eq=False)
class Busy(NodeError):
    """Somebody else starts or stops this mesh, and does not come to an end."""

    home: str

    def __str__(self) -> str:
        return f"another command is starting or stopping the mesh in {self.home}; try again when it has ended"


@dataclass(eq=False)
class NotRunning(NodeError):
    """No node agent answers."""

    home: str

    def __str__(self) -> str:
        return f"no mesh is running in {self.home}; `marline up` starts one"


@dataclass(eq=False)
class StartFailed(NodeError):
    """A process of Marline did not come up."""

    what: str
    message: str
    log: str = ""

    def __str__(self) -> str:
        return f"{self.what} did not start: {self.message}" + (f" (see {self.log})" if self.log else "")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why traffic cannot be captured transparently, and what would help."""

    message: str
    remedy: str


@dataclass(eq=False)
class CaptureUnavailable(NodeError):
    """This machine cannot capture traffic transparently."""

    message: str

    def __str__(self) -> str:
        return f"transparent capture is not possible: {self.message}"


@dataclass(eq=False)
class AgentRefused(NodeError):
    """The node agent understood a request and refused it."""

    message: str

    def __str__(self) -> str:
        return self.message


class AdminError(Exception):
    """Envoy's admin socket did not answer."""
