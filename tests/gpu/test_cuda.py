"""The CUDA provider on a real GPU: right answers, no silent fall back, memory, stopping, trials."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from service.core.errors import BadModel, DoesNotFit, ProviderMissing, RetortError, RunFailed, Stuck
from service.runtime.devices import cuda_devices, find_obstacles
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions, choose_provider
from service.runtime.trial import TrialResult, run_trial
from service.runtime.trial_process import TrialLimits
from tests.unit.runtime import graphs

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("cuda")]

CUDA = RunnerOptions("cuda")


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 512)).astype(np.float32)


def test_auto_takes_it_and_says_why() -> None:
    choice = choose_provider("auto", find_obstacles())
    assert (choice.provider, choice.reason) == ("cuda", "a CUDA device is there")
    assert cuda_devices() >= 1


@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_answers_are_those_of_the_cpu(count: int) -> None:
    """Within float32: TF32 would be off by a thousand times as much."""
    onnx = graphs.mlp(layers=4)
    gpu, cpu = (OnnxRunner.load(onnx, {}, options) for options in (CUDA, RunnerOptions()))
    assert (gpu.provider, cpu.provider) == ("cuda", "cpu")
    expected = cpu.run({"x0": rows(count)})["x4"]
    assert np.abs(gpu.run({"x0": rows(count)})["x4"] - expected).max() <= 2e-5 * np.abs(expected).max()


def test_external_data_and_strings_reach_it() -> None:
    onnx = graphs.matmul(graphs.stored_outside(graphs.WEIGHTS, "w", "w.bin"))
    runner = OnnxRunner.load(onnx, {"w.bin": graphs.WEIGHTS.tobytes()}, CUDA)
    assert np.array_equal(runner.run({"x": graphs.EYE})["y"], graphs.WEIGHTS)


def test_stop_ends_the_run_in_flight() -> None:
    runner = OnnxRunner.load(graphs.loop(), {}, CUDA)
    raised: list[RetortError] = []

    def target() -> None:
        try:
            runner.run({"n": np.array(10**12), "x": graphs.EYE})
        except RetortError as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    time.sleep(1)
    runner.stop()
    thread.join(20)
    assert [type(error) for error in raised] == [Stuck]
    assert runner.run({"n": np.array(2), "x": graphs.EYE})["y"].shape == (64, 64)


def test_a_memory_limit_holds() -> None:
    small = RunnerOptions("cuda", memory_limit_bytes=8 << 20)
    with pytest.raises((DoesNotFit, RunFailed), match="there is not enough memory"):
        OnnxRunner.load(graphs.mlp(layers=40), {}, small).run({"x0": rows(1)})
    assert OnnxRunner.load(graphs.mlp(layers=40), {}, CUDA).run({"x0": rows(1)})["x40"].shape == (1, 512)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises((ProviderMissing, BadModel)):
        OnnxRunner.load(graphs.linear(), {}, RunnerOptions("cuda", device_id=99))


@pytest.mark.parametrize(
    "given",
    [
        {"cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": True, "prefer_nhwc": False},
        {"arena_extend_strategy": "kNextPowerOfTwo", "gpu_mem_limit": 1 << 30, "do_copy_in_default_stream": True},
        {"tunable_op_enable": False, "fuse_conv_bias": False, "use_ep_level_unified_stream": False, "sdpa_kernel": 0},
    ],
)
def test_options_of_model_yaml_are_taken(given: dict[str, str | int | float | bool]) -> None:
    runner = OnnxRunner.load(graphs.linear(), {}, RunnerOptions("cuda", provider_options=given))
    assert runner.run({"x": np.ones((3, 64), np.float32)})["y"].shape == (3, 10)


def test_a_trial_passes_under_the_default_limits() -> None:
    feeds = [{"x0": rows(1)}, {"x0": rows(32)}]
    limits = TrialLimits(timeout_s=120)
    assert run_trial(graphs.mlp(layers=4), {}, feeds, CUDA, limits) == TrialResult(True)
