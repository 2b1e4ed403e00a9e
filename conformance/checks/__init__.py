"""Every check, in the order in which they run."""

from conformance.check import Check
from conformance.checks import binary, errors, extensions, health, infer, metadata, robustness, rpc

SERVER_CHECKS: tuple[Check, ...] = (*health.SERVER, *metadata.SERVER, *extensions.SERVER, *rpc.SERVER)
MODEL_CHECKS: tuple[Check, ...] = (
    *(*health.MODEL, *metadata.MODEL, *infer.MODEL, *errors.MODEL, *binary.MODEL),
    *(*extensions.MODEL, *rpc.MODEL, *robustness.MODEL),
)
ALL_CHECKS = (*SERVER_CHECKS, *MODEL_CHECKS)
