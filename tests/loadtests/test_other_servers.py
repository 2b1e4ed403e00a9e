"""Ours, the real Triton and MLServer in one comparison, each with the same ONNX file of digits.

PEERS_HOME names a folder with their environments, `venvs/triton` and `venvs/mlserver`, each with onnxruntime beside
nvidia-pytriton or mlserver. Without it nothing is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from loadtests import comparison
from loadtests.order import Order
from loadtests.outcome import Outcome
from loadtests.run import run
from loadtests.scenario import Scenario
from models.data.digits import part
from tests.support.mlserver import MlServer
from tests.support.process import ServerProcess
from tests.triton.repositories import DIGITS, write_both
from tests.triton.server import TritonServer

HOME = Path(os.environ.get("PEERS_HOME", "none")).resolve()
SHORT = Scenario(summary="Short blocks.", block_s=0.3)
RATE = 40.0

pytestmark = pytest.mark.skipif(
    not (HOME / "venvs" / "triton").is_dir() or not (HOME / "venvs" / "mlserver").is_dir(),
    reason="PEERS_HOME names no folder with venvs/triton and venvs/mlserver",
)


@dataclass(frozen=True)
class Servers:
    urls: tuple[str, ...]
    grpc: tuple[str, ...]


@contextmanager
def on_one_core() -> Iterator[None]:
    """What is started within stays on the first core: threads of a server that already runs cannot all be moved."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    repository, _ = write_both(folder)
    (folder / "mlserver").mkdir()
    ours = ["--repository", str(DIGITS.parents[2]), "--threads", "1"]
    with ExitStack() as stack:
        with on_one_core():
            first = stack.enter_context(ServerProcess(ours, folder))
            second = stack.enter_context(TritonServer(HOME / "venvs" / "triton", repository, folder))
            third = stack.enter_context(
                MlServer(HOME / "venvs" / "mlserver", "digits", DIGITS, {}, folder / "mlserver")
            )
        grpc = (first.grpc, f"127.0.0.1:{second.grpc_port}", third.grpc)
        yield Servers((first.url, second.url, third.url), grpc)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.npz"
    test = part("test")
    np.savez(file, labels=test.labels[:32], **{name: array[:32] for name, array in test.inputs.items()})
    return file


def compared(servers: Servers, rows: Path, *places: int, encoding: str = "binary") -> Outcome:
    urls, grpc = (tuple(all_of_them[at] for at in places) for all_of_them in (servers.urls, servers.grpc))
    order = Order("digits", ("1",), urls, SHORT, data=rows, rate=RATE, duration_s=0.1)
    if encoding == "grpc":
        order = replace(order, encoding="grpc", grpc=grpc)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "REST_S", 0.02)
        return run(order)


def assert_all_answer_alike(outcome: Outcome) -> None:
    for label, summary in outcome.summaries.items():
        assert summary.errors == {} and summary.requests > 20, label
        assert summary.effective_accuracy is not None and summary.effective_accuracy.value > 0.9, label
    classes = {
        label: np.concatenate([block.sent.classes for block in outcome.blocks if block.version == label])
        for label in outcome.summaries
    }
    assert all(set(found.tolist()) <= set(range(10)) for found in classes.values())


@pytest.mark.timeout(240)
def test_three_makes_stand_side_by_side_in_json(servers: Servers, rows: Path) -> None:
    outcome = compared(servers, rows, 0, 1, 2)
    assert_all_answer_alike(outcome)
    names = " ".join(outcome.notes)
    assert all(f"says that it is {make}" in names for make in ("retort", "triton", "mlserver"))
    assert "takes no binary tensors: all are asked in JSON" in names
    ours, triton, mlserver = (outcome.summaries[entry.label] for entry in outcome.entries)
    assert ours.mean_batch is not None and triton.mean_batch is not None
    assert mlserver.mean_batch is None  # it keeps no such statistics
    assert [entry.full for entry in outcome.entries] == [None, outcome.entries[0].label, outcome.entries[0].label]


def test_ours_and_triton_are_asked_in_binary(servers: Servers, rows: Path) -> None:
    outcome = compared(servers, rows, 0, 1)
    assert_all_answer_alike(outcome)
    assert outcome.traffic.encoding == "binary"


def test_all_three_over_grpc(servers: Servers, rows: Path) -> None:
    assert_all_answer_alike(compared(servers, rows, 0, 1, 2, encoding="grpc"))
