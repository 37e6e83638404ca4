"""Measures the mesh beside its peers, in the same run on the same machine: `make bench`."""

import os

# This process forks while calls are open. gRPC's handlers for that wait for its other threads, now
# and then for ever; children only exec, so nothing needs them. It must be said before the import.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
