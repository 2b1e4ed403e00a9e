"""gRPC: Triton's GRPCInferenceService, health and reflection, over the same catalog, errors and counts as HTTP."""

import os

os.environ.setdefault(
    "GRPC_VERBOSITY", "NONE"
)  # read once, when grpc loads: what its core writes is no line of our log
