"""The bench of a GPU: tried on the CPU, its checks tell a wrong answer, and without a GPU it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from service.core.contract import Array
from service.runtime.devices import find_obstacles
from tests.bench.gpu import measuring
from tests.bench.gpu.__main__ import NOT_THERE, main
from tests.bench.gpu.measuring import measure
from tests.bench.gpu.networks import Network, networks
from tests.bench.gpu.page import page_of
from tests.bench.gpu.page_locked import CudaError, PageLocked
from tests.bench.gpu.sessions import session_of
from tests.bench.gpu.ways import WAYS, Bound, Feed, Plain

without_gpu = pytest.mark.skipif(not find_obstacles()["cuda"], reason="there is a GPU")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Network]]:
    """Every network, small."""
    found = networks(tmp_path_factory.mktemp("networks"), side=32, most_rows=4)
    yield {(network.name, network.precision): network for network in found}


def test_every_network_is_there_in_every_precision(made: dict[tuple[str, str], Network]) -> None:
    assert set(made) == {(name, kind) for name in ("resnet18", "tiny") for kind in ("fp32", "fp16", "int8")}
    for (name, kind), network in made.items():
        answer, expected = (
            session_of(one.onnx, "cpu", 4).run(None, dict(network.rows))[0] for one in (network, made[name, "fp32"])
        )
        assert np.abs(answer - expected).max() <= 0.25 * np.abs(expected).max(), kind


def test_bound_buffers_answer_what_arrays_do(made: dict[tuple[str, str], Network]) -> None:
    found = {one.way: one for one in measure(made["tiny", "fp32"], "cpu", 4, engines=None, rounds=2, seconds=0.02)}
    assert list(found) == list(WAYS)
    for name in ("plain", "bound"):
        assert found[name].refused == ""
        assert found[name].p99_ms >= found[name].p50_ms > 0
        assert found[name].rows_per_s == pytest.approx(4e3 / found[name].p50_ms)
    assert found["recorded"].refused == "NotThere: nothing is recorded on cpu"


class _FirstAnswer(Plain):
    """Answers every batch what the first was answered, as a replay would that takes no input."""

    def __init__(self, session: onnxruntime.InferenceSession, feed: Feed, device: str) -> None:
        super().__init__(session, feed, device)
        self._first: list[Array] | None = None

    def run(self, feed: Feed) -> list[Array]:
        self._first = self._first or super().run(feed)
        return self._first


def test_a_way_that_forgets_its_input_is_not_measured(
    made: dict[tuple[str, str], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "WAYS", {"plain": Plain, "bound": Bound, "forgetful": _FirstAnswer})
    found = {one.way: one for one in measure(made["tiny", "fp32"], "cpu", 4, engines=None, rounds=1, seconds=0.01)}
    assert "beside the CPU's" in found["forgetful"].refused
    assert (found["plain"].refused, found["bound"].refused) == ("", "")


@without_gpu
def test_page_locked_memory_is_refused_without_a_gpu() -> None:
    with pytest.raises(CudaError, match="CUDA"):
        PageLocked().empty((4,), np.dtype(np.float32))


@without_gpu
def test_without_a_gpu_it_says_so(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "out")]) == NOT_THERE
    assert "the cuda provider cannot be had here: " in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_it_is_tried_as_a_whole_on_the_cpu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tried = ["--provider", "cpu", "--networks", "tiny", "--rows", "1", "--rounds", "1", "--seconds", "0.1"]
    assert main([*tried, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {one["connections"] for one in found["served"]} == {1, 16, 64}
    assert all(one["rows_per_s"] > 0 for one in found["served"])
    page = (tmp_path / "gpu.md").read_text()
    assert page in capfd.readouterr().out
    assert "| tiny | int8 | cpu | 1 |" in page


def test_the_page_tells_ratios_reasons_and_engines() -> None:
    run = {"network": "n", "precision": "fp16", "provider": "tensorrt", "rows": 8, "refused": ""}
    found = {
        "machine": {"GPU name": "one"},
        "runs": [{**run, "way": "plain", "p50_ms": 2.0}, {**run, "way": "recorded", "p50_ms": 0.5}],
        "served": [],
        "engines": [{"network": "n", "precision": "fp16", "loads": [{"answer_s": 61.5}, {"answer_s": 1.25}]}],
    }
    page = page_of(found)
    assert "| n | fp16 | tensorrt | 8 | 2.000 | 0.500 (4.00) |" in page
    assert "| n | fp16 | 61.50 | 1.25 |" in page
    found["runs"][1] |= {"p50_ms": float("nan"), "refused": "it would not"}  # type: ignore[index]
    assert "| n | fp16 | tensorrt | 8 | 2.000 | - |" in page_of(found)
    assert "Not measured: it would not" in page_of(found)
