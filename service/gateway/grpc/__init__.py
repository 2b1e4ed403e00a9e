"""gRPC: Triton's GRPCInferenceService, health and reflection, over the same catalog, errors and counts as HTTP."""
