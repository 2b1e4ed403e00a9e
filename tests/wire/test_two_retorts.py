"""Two servers in a row: one whose model the other one runs, by gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import ANSWERS, ROWS, TOLERANCE, VERSIONS, tensor

Pair = tuple[ServerProcess, ServerProcess]


@contextmanager
def in_a_row(folder: Path) -> Iterator[Pair]:
    """The front, and the back that it asks."""
    for name in ("back", "front"):
        (folder / name).mkdir()
    with ServerProcess(["--repository", str(REPOSITORY)], folder / "back") as back:
        repository = folder / "repository"
        for version in VERSIONS:
            (repository / f"far-{version}").mkdir(parents=True)
            remote = {"url": back.grpc, "model": "digits", "version": version}
            (repository / f"far-{version}" / "model.yaml").write_text(json.dumps({"runner": {"triton": remote}}))
        with ServerProcess(["--repository", str(repository)], folder / "front") as front:
            yield front, back


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One whose back stays."""
    with in_a_row(tmp_path_factory.mktemp("two")) as (front, _):
        yield front


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with in_a_row(tmp_path) as pair:
        yield pair


def ask(server: ServerProcess, version: str, rows: Any) -> Any:
    answer = server.http.post(f"/v2/models/far-{version}/infer", json={"inputs": [tensor(rows)]})
    assert answer.status_code == 200, answer.text
    return np.reshape(answer.json()["outputs"][0]["data"], (len(rows), -1))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_front_answers_as_the_named_version_behind_it(front: ServerProcess, version: str) -> None:
    assert np.abs(ask(front, version, ROWS) - ANSWERS[version]).max() < TOLERANCE
    many = np.concatenate([ROWS] * 3)
    assert np.abs(ask(front, version, many) - np.concatenate([ANSWERS[version]] * 3)).max() < TOLERANCE
    metadata = front.http.get(f"/v2/models/far-{version}").json()
    assert (metadata["platform"], metadata["batching"]["max_batch_size"]) == ("remote", 32)


def test_a_front_is_not_ready_without_its_back(pair: Pair) -> None:
    front, back = pair
    assert front.http.get("/v2/health/ready").status_code == 200
    back.kill()
    until(lambda: front.http.get("/v2/health/ready").status_code == 503)
    refusal = front.http.post("/v2/models/far-1/infer", json={"inputs": [tensor(ROWS[:1])]})
    assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")


def test_a_drained_back_is_told_as_one_that_is_away(pair: Pair) -> None:
    front, back = pair
    assert back.terminate() == 0
    refusal = front.http.post("/v2/models/far-1/infer", json={"inputs": [tensor(ROWS[:1])]})
    assert refusal.status_code == 503
    assert front.terminate() == 0
