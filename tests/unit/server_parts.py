"""A repository of one small model, and the settings that serve it, for tests of the server as a whole."""

from __future__ import annotations

from pathlib import Path

from service.settings import Settings
from tests.unit.serving import models

OBSTACLES = {"cpu": "", "cuda": "this is a test", "tensorrt": "this is a test"}


def one_model(folder: Path) -> Path:
    """A repository in `folder` whose model `m` has version 1, which doubles."""
    version = folder / "repository" / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(models.scales(2.0))
    return folder / "repository"


def settings(*repositories: Path, **more: object) -> Settings:
    usual = {
        "state_dir": repositories[0].parent / "state",
        "http_port": 0,
        "grpc_port": 0,
        "provider": "cpu",
        "trial_memory_bytes": 0,
    }
    return Settings(repository=repositories, **{**usual, **more})  # type: ignore[arg-type]
