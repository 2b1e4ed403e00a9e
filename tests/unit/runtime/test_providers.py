"""The tables of providers: what is chosen, what is passed on, what is refused."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from service.core.contract import TensorSpec
from service.core.errors import BadModel, ProviderMissing
from service.repository import triton_accelerators
from service.runtime.provider_tables import BAKED_IN, OPTIONS
from service.runtime.providers import (
    INSTALL,
    ORT_NAMES,
    Choice,
    OptionValue,
    Provider,
    RunnerOptions,
    choose_provider,
    options_for,
    profile_shapes,
    provider_list,
    session_entries,
)

NO_GPU: dict[Provider, str] = {"cpu": "", "cuda": "no device", "tensorrt": "no device"}
GPU: dict[Provider, str] = {"cpu": "", "cuda": "", "tensorrt": "libnvinfer.so.10 is not installed"}
ALL: dict[Provider, str] = {"cpu": "", "cuda": "", "tensorrt": ""}


@pytest.mark.parametrize(
    ("asked", "obstacles", "expected"),
    [
        ("auto", NO_GPU, Choice("cpu", "no CUDA: no device")),
        ("auto", GPU, Choice("cuda", "a CUDA device is there")),
        ("auto", ALL, Choice("cuda", "a CUDA device is there")),  # never TensorRT by itself
        ("cpu", ALL, Choice("cpu", "asked for")),
        ("cuda", GPU, Choice("cuda", "asked for")),
        ("tensorrt", ALL, Choice("tensorrt", "asked for")),
        ("auto-tensorrt", ALL, Choice("tensorrt", "it works here")),
        ("auto-tensorrt", GPU, Choice("cuda", "a CUDA device is there")),
        ("auto-tensorrt", NO_GPU, Choice("cpu", "no CUDA: no device")),
    ],
)
def test_choice(asked: str, obstacles: dict[Provider, str], expected: Choice) -> None:
    assert choose_provider(asked, obstacles) == expected


@pytest.mark.parametrize(
    ("asked", "obstacles", "words"),
    [
        ("cuda", NO_GPU, r"the cuda provider cannot be had here: no device; try: pip install '\.\[cuda\]' in Retort's"),
        ("tensorrt", GPU, r"libnvinfer.so.10 is not installed; try: pip install '\.\[cuda,tensorrt\]' in "),
        ("rocm", ALL, "there is no provider 'rocm': take auto, cpu, cuda or tensorrt"),
    ],
)
def test_what_cannot_be_had_is_refused(asked: str, obstacles: dict[Provider, str], words: str) -> None:
    with pytest.raises(ProviderMissing, match=words):
        choose_provider(asked, obstacles)


def options_of(provider: Provider, **given: OptionValue) -> RunnerOptions:
    return RunnerOptions(provider, provider_options=given)


def test_cpu_is_alone_and_without_options() -> None:
    assert provider_list(options_of("cpu"), (), None) == [("CPUExecutionProvider", {})]


def test_spinning_is_off_and_can_be_asked_for() -> None:
    entry = "session.intra_op.allow_spinning"
    assert session_entries(options_of("cpu")) == {entry: "0"}
    assert session_entries(options_of("cpu", allow_spinning=True)) == {entry: "1"}
    assert session_entries(options_of("cuda")) == {}


def test_cuda_options() -> None:
    options = RunnerOptions("cuda", device_id=3, memory_limit_bytes=1 << 30)
    assert provider_list(options, (), None) == [
        (
            "CUDAExecutionProvider",
            {
                "device_id": "3",
                "arena_extend_strategy": "kSameAsRequested",
                "cudnn_conv_algo_search": "HEURISTIC",
                "do_copy_in_default_stream": "1",
                "use_tf32": "0",
                "gpu_mem_limit": str(1 << 30),
            },
        ),
        ("CPUExecutionProvider", {}),
    ]


def test_options_of_model_yaml_win() -> None:
    given = options_of("cuda", cudnn_conv_algo_search="EXHAUSTIVE", prefer_nhwc=True, device_id=1, sdpa_kernel=2)
    (_, cuda), _ = provider_list(given, (), None)
    assert cuda["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert (cuda["prefer_nhwc"], cuda["device_id"], cuda["sdpa_kernel"]) == ("1", "1", "2")


IMAGE = TensorSpec("image", "FP32", ("batch", 3, 224, 224))
LENGTHS = TensorSpec("lengths", "INT64", ("batch",))
TOKENS = TensorSpec("tokens", "INT64", ("batch", "sequence"))
FIXED = TensorSpec("fixed", "FP32", (1, 8))


def test_tensorrt_options(tmp_path: Path) -> None:
    options = RunnerOptions("tensorrt", max_batch_size=16, memory_limit_bytes=5, device_id=1)
    chain = provider_list(options, [IMAGE, FIXED], tmp_path / "abc")
    assert [name for name, _ in chain] == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert chain[0][1] == {
        "device_id": "1",
        "trt_profile_min_shapes": "image:1x3x224x224",
        "trt_profile_opt_shapes": "image:16x3x224x224",
        "trt_profile_max_shapes": "image:16x3x224x224",
        "trt_max_workspace_size": "5",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path / "abc"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path),
    }
    assert chain[1][1]["gpu_mem_limit"] == "5"


def test_tensorrt_without_a_cache_folder_keeps_nothing() -> None:
    options = provider_list(options_of("tensorrt"), [FIXED], None)[0][1]
    assert options == {"device_id": "0"}


def test_tensorrt_takes_cuda_options_for_what_it_leaves_to_cuda() -> None:
    given = options_of("tensorrt", trt_builder_optimization_level=5, prefer_nhwc=False, trt_tactic_sources="-CUDNN")
    tensorrt, cuda, _ = (options for _, options in provider_list(given, (), None))
    assert (tensorrt["trt_builder_optimization_level"], tensorrt["trt_tactic_sources"]) == ("5", "-CUDNN")
    assert cuda["prefer_nhwc"] == "0"
    assert "prefer_nhwc" not in tensorrt
    assert "trt_tactic_sources" not in cuda


@pytest.mark.parametrize(
    ("inputs", "most", "expected"),
    [
        ([IMAGE, LENGTHS], 8, ["image:1x3x224x224,lengths:1", *["image:8x3x224x224,lengths:8"] * 2]),
        ([LENGTHS], 1, ["lengths:1", "lengths:1", "lengths:2"]),  # a load tries two rows even there
        ([LENGTHS], 0, ["lengths:1", "lengths:1", "lengths:2"]),
        ([FIXED], 8, None),
        ([], 8, None),
        ([IMAGE, TOKENS], 8, None),  # nothing is known of the second axis
        ([TensorSpec("a:b", "FP32", ("N",))], 8, None),  # the syntax has no escapes
    ],
)
def test_profiles(inputs: list[TensorSpec], most: int, expected: list[str] | None) -> None:
    profile = profile_shapes(inputs, most)
    if expected is None:
        assert profile == {}
    else:
        assert [profile[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")] == expected


def test_a_profile_of_model_yaml_wins() -> None:
    given = options_of("tensorrt", trt_profile_opt_shapes="image:4x3x224x224")
    assert provider_list(given, [IMAGE], None)[0][1]["trt_profile_opt_shapes"] == "image:4x3x224x224"


@pytest.mark.parametrize(
    ("provider", "name", "value", "words"),
    [
        ("cuda", "cudnn_conv_algo_serch", "x", "'cudnn_conv_algo_serch'; the nearest is 'cudnn_conv_algo_search'"),
        ("cpu", "arena_extend_strategy", "x", "the cpu provider knows no option 'arena_extend_strategy'"),
        ("cuda", "trt_max_workspace_size", 5, "the cuda provider knows no option 'trt_max_workspace_size'"),
        ("cuda", "use_tf32", True, "'use_tf32' is refused, since precision is baked into the graph"),
        ("tensorrt", "trt_fp16_enable", True, "precision is baked into the graph"),
        ("tensorrt", "trt_int8_enable", 1, "precision is baked into the graph"),
        ("tensorrt", "trt_extra_plugin_lib_paths", "/tmp/evil.so", "knows no option"),
        ("tensorrt", "trt_engine_cache_path", "/etc", "knows no option"),
        ("cuda", "user_compute_stream", 1234, "knows no option"),
        ("cuda", "gpu_external_alloc", 1234, "knows no option"),
        ("cuda", "cudnn_conv_algo_search", "FAST", "takes HEURISTIC or EXHAUSTIVE or DEFAULT, not 'FAST'"),
        ("cuda", "gpu_mem_limit", "lots", "'gpu_mem_limit' takes a whole number, not 'lots'"),
        ("cuda", "gpu_mem_limit", True, "takes a whole number, not True"),
        ("cuda", "prefer_nhwc", 1, "'prefer_nhwc' takes true or false, not 1"),
        ("tensorrt", "trt_tactic_sources", 1.5, "takes text, not 1.5"),
    ],
)  # fmt: skip
def test_what_model_yaml_may_not_say(provider: Provider, name: str, value: OptionValue, words: str) -> None:
    options = options_of(provider, **{name: value})
    with pytest.raises(BadModel, match=words):
        provider_list(options, (), None)
    if provider == "cpu":
        with pytest.raises(BadModel, match=words):
            session_entries(options)


def test_every_option_name_exists_in_the_installed_libraries() -> None:
    """ONNX Runtime ignores or rejects what it does not know only once there is a GPU: so look into its libraries."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    for provider in ("cuda", "tensorrt"):
        library = folder / f"libonnxruntime_providers_{provider}.so"
        if not library.exists():
            pytest.skip("this ONNX Runtime has no GPU providers")
        found = _c_strings(library)
        names = set(OPTIONS[provider]) | {
            name for name in BAKED_IN if name.startswith("trt_") == (provider == "tensorrt")
        }
        assert {name for name in names if name.encode() not in found} == set()


def _c_strings(library: Path) -> bytes:
    """Every option name that stands in the library, found by the system's own tool: it is 280 MB."""
    names = sorted({name for table in OPTIONS.values() for name in table} | BAKED_IN)
    command = ["grep", "-aoE", "|".join(names), str(library)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_tables_are_in_order_and_disjoint() -> None:
    assert set(ORT_NAMES) == set(INSTALL) == set(OPTIONS)
    for table in OPTIONS.values():
        assert not set(table) & BAKED_IN
    for before, after in pairwise(name for name in OPTIONS["tensorrt"]):
        assert before < after


def test_options_of_an_accelerator_are_those_that_the_provider_reads() -> None:
    given: dict[str, Any] = {"gpu_mem_limit": 5, "trt_dla_core": 1, "device_id": 2}
    assert options_for("tensorrt", given) == given
    assert options_for("cuda", given) == {"gpu_mem_limit": 5, "device_id": 2}


def test_options_that_triton_s_accelerators_take_are_options_of_the_providers() -> None:
    kinds: dict[str, Any] = {**OPTIONS["cuda"], **OPTIONS["tensorrt"]}
    assert {name for name, kind in kinds.items() if kind == "bool"} == triton_accelerators._SWITCHES
    assert {name for name, kind in kinds.items() if kind == "int"} - {"device_id"} == triton_accelerators._NUMBERS
    assert {name for name, kind in kinds.items() if kind not in ("bool", "int")} == triton_accelerators._TEXTS
