"""Servers shared by the tests of this folder: one with the shipped digits model, one that takes shared memory too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto

from tests.support.process import ServerProcess
from tests.unit.runtime.graphs import identity

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("wire")
    arguments = ["--repository", str(REPOSITORY)]
    environment = {"RETORT_MAX_BODY_BYTES": "1000000", "RETORT_ACCESS_LOG": "true"}
    with ServerProcess(arguments, folder, env=environment) as running:
        yield running


@pytest.fixture(scope="session")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `digits`, `words` (BYTES) and `large` (FP32) with shared memory on; both give back what they get."""
    folder = tmp_path_factory.mktemp("sharing")
    for name, kind in (("words", TensorProto.STRING), ("large", TensorProto.FLOAT)):
        version = folder / "repository" / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(identity(kind, ("N",) if kind == TensorProto.STRING else ("N", 150_528)))
    arguments = ["--repository", str(REPOSITORY), "--repository", str(folder / "repository"), "--shared-memory"]
    with ServerProcess(arguments, folder) as running:
        yield running
