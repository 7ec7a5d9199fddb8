"""What holds for all tests."""

import os
import signal

# Tests serve gRPC and start Envoys from one process. gRPC's fork handlers would start its pollers anew in
# the child, which aborts when they meet file descriptors that are closed before `exec`. Read when gRPC is
# first imported, so it stands here.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def pytest_configure() -> None:
    """Whoever ends a test run gets the same order as with Ctrl-C: meshes are taken down first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
