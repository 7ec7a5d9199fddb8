"""What holds for all tests."""

import os

# Tests serve gRPC and start Envoys from one process. gRPC's fork handlers would start its pollers anew in
# the child, which aborts when they meet file descriptors that are closed before `exec`. Read when gRPC is
# first imported, so it stands here.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
