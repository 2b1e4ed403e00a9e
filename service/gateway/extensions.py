"""Which of Triton's extensions a server of ours has; only those that work are listed."""

from __future__ import annotations

from typing import Any

from service.gateway.shared_memory import SharedMemory

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "sequence",
    "statistics",
    "trace",
)


def server_metadata(version: str, shared_memory: SharedMemory) -> dict[str, Any]:
    """The server's name, its version and its extensions."""
    more = ["system_shared_memory"] if shared_memory.enabled else []
    return {"name": "retort", "version": version, "extensions": [*EXTENSIONS, *more]}
