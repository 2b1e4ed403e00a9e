"""One server with the shipped digits model, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ServerProcess

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("wire")
    arguments = ["--repository", str(REPOSITORY)]
    environment = {"RETORT_MAX_BODY_BYTES": "1000000", "RETORT_ACCESS_LOG": "true"}
    with ServerProcess(arguments, folder, env=environment) as running:
        yield running
