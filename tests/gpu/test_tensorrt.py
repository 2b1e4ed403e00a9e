"""The TensorRT provider on a real GPU: right answers, one engine for all batch sizes, engines kept per weights."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.runtime.trial import TrialResult, run_trial
from service.runtime.trial_process import TrialLimits
from tests.unit.runtime import graphs

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.usefixtures("tensorrt")]


def options(cache_dir: Path, most: int = 8) -> RunnerOptions:
    return RunnerOptions("tensorrt", max_batch_size=most, cache_dir=cache_dir, memory_limit_bytes=2 << 30)


def rows(count: int) -> dict[str, np.ndarray]:
    return {"x0": np.random.default_rng(0).standard_normal((count, 512)).astype(np.float32)}


def engines(cache_dir: Path) -> list[Path]:
    return sorted(cache_dir.rglob("*.engine"))


def test_one_engine_answers_every_batch_size_in_float32(tmp_path: Path) -> None:
    onnx = graphs.mlp(layers=4)
    runner, cpu = OnnxRunner.load(onnx, {}, options(tmp_path)), OnnxRunner.load(onnx, {}, RunnerOptions())
    assert runner.provider == "tensorrt"
    for count in (1, 3, 8):
        expected = cpu.run(rows(count))["x4"]
        # TensorRT has no switch for TF32 in this provider: what it rounds is measured here, and is no half precision.
        assert np.abs(runner.run(rows(count))["x4"] - expected).max() <= 1e-3 * np.abs(expected).max()
    assert len(engines(tmp_path)) == 1


def test_two_rows_run_even_where_batches_are_of_one(tmp_path: Path) -> None:
    """A load looks whether rows can share a run; an engine for one row alone would refuse that."""
    runner = OnnxRunner.load(graphs.mlp(layers=2), {}, options(tmp_path, most=1))
    assert [runner.run(rows(count))["x2"].shape for count in (1, 2)] == [(1, 512), (2, 512)]
    assert len(engines(tmp_path)) == 1


def test_a_trial_sends_no_more_rows_than_the_engine_takes(tmp_path: Path) -> None:
    result = run_trial(graphs.mlp(layers=2), {}, [rows(20)], options(tmp_path), TrialLimits(timeout_s=300))
    assert result == TrialResult(True)


def test_a_second_load_finds_the_engine(tmp_path: Path) -> None:
    onnx = graphs.mlp(layers=4)
    start_s = time.perf_counter()
    first = OnnxRunner.load(onnx, {}, options(tmp_path)).run(rows(2))["x4"]
    built_s, start_s = time.perf_counter() - start_s, time.perf_counter()
    second = OnnxRunner.load(onnx, {}, options(tmp_path)).run(rows(2))["x4"]
    assert time.perf_counter() - start_s < built_s
    assert np.array_equal(first, second)
    assert len(engines(tmp_path)) == 1


def test_other_weights_of_the_same_structure_get_an_engine_of_their_own(tmp_path: Path) -> None:
    """What goes wrong otherwise: the engine of a sibling answers, with the sibling's weights."""
    for seed in (1, 2):
        onnx = graphs.mlp(layers=2, seed=seed)
        expected = OnnxRunner.load(onnx, {}, RunnerOptions()).run(rows(2))["x2"]
        answer = OnnxRunner.load(onnx, {}, options(tmp_path)).run(rows(2))["x2"]
        assert np.abs(answer - expected).max() <= 1e-3 * np.abs(expected).max()
    assert len({engine.parent for engine in engines(tmp_path)}) == 2
