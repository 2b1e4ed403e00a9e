"""Sessions from bytes: external data, cancellation, what is refused and in which words, what is kept."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.core.errors import BadModel, DoesNotFit, ProviderMissing, Stuck
from service.runtime import devices, session
from service.runtime.providers import RunnerOptions
from service.runtime.session import open_session
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import EYE, WEIGHTS, value

CPU = RunnerOptions()
RAW = WEIGHTS.tobytes()


def answer(onnx: bytes, external: Mapping[str, bytes], **more: object) -> np.ndarray:
    opened = open_session(onnx, external, CPU)
    return np.asarray(opened.run(None, {"x": EYE, **more})[0])


# External data


@pytest.mark.parametrize("offset", [0, 1, 4, 4096, 70_001])
def test_external_data_at_any_offset(offset: int) -> None:
    onnx = graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "weights.bin", offset))
    external = {"weights.bin": b"\xee" * offset + RAW + b"left over"}
    assert np.array_equal(answer(onnx, external), WEIGHTS)


def test_several_tensors_and_files() -> None:
    onnx = graphs.model(
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "v"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 64])],
        [value("y", TensorProto.FLOAT, ["N", 64])],
        [graphs.stored_outside(WEIGHTS, "w", "one.bin"), graphs.stored_outside(WEIGHTS, "v", "sub/two.bin", 8)],
    )
    assert np.array_equal(answer(onnx, {"one.bin": RAW, "sub/two.bin": b"\0" * 8 + RAW}), WEIGHTS * 2)


def test_external_data_of_a_constant() -> None:
    assert np.array_equal(answer(graphs.external_in_constant("w.bin"), {"w.bin": RAW}), WEIGHTS)


def test_external_data_may_change_once_the_session_is_built() -> None:
    data = bytearray(RAW)
    external: dict[str, bytes] = {"w.bin": data}  # type: ignore[dict-item]
    opened = open_session(graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin")), external, CPU)
    data[:] = bytes(len(data))
    assert np.array_equal(opened.run(None, {"x": EYE})[0], WEIGHTS)


ELSEWHERE = "the model's external data is not among its files, or belongs to a subgraph or a function"


@pytest.mark.parametrize(
    ("onnx", "external", "words"),
    [
        (graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin")), {"w.bin": RAW[:-4]}, "out of bounds"),
        (graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin")), {"w.bin": b""}, "out of bounds"),
        (graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin", 1 << 40)), {"w.bin": RAW}, "out of bounds"),
        (graphs.matmul(graphs.stored_outside(WEIGHTS[:8], "w", "w.bin")), {"w.bin": RAW}, "cannot be loaded"),
        (graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin")), {"other.bin": RAW}, ELSEWHERE),
        (graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin")), {}, ELSEWHERE),
        (graphs.external_in_subgraph("w.bin"), {"w.bin": RAW}, ELSEWHERE),
        (graphs.external_in_function("w.bin"), {"w.bin": RAW}, ELSEWHERE),
    ],
)
def test_external_data_that_cannot_be_had(onnx: bytes, external: Mapping[str, bytes], words: str) -> None:
    with pytest.raises(BadModel, match=words):
        open_session(onnx, external, CPU)


LOADERS: list[Callable[[str], bytes]] = [
    graphs.external_in_subgraph,
    graphs.external_in_function,
    graphs.external_in_constant,
    lambda location: graphs.matmul(graphs.stored_outside(WEIGHTS, "w", location)),
]


@pytest.mark.parametrize("build", LOADERS)
@pytest.mark.parametrize("location", ["w.bin", "{folder}/w.bin", "../{name}/w.bin"])
def test_no_path_is_followed(
    build: Callable[[str], bytes], location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies where ONNX Runtime would find it, and is not used (promise M2)."""
    (tmp_path / "w.bin").write_bytes(RAW)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadModel):
        open_session(build(location.format(folder=tmp_path, name=tmp_path.name)), {}, CPU)


@pytest.mark.parametrize("build", LOADERS)
def test_it_would_be_followed_otherwise(
    build: Callable[[str], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: led to the working directory, ONNX Runtime reads the very same file."""
    (tmp_path / "w.bin").write_bytes(RAW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session.os, "devnull", "")
    assert open_session(build("w.bin"), {}, CPU).get_providers() == ["CPUExecutionProvider"]


# What cannot be loaded


def unknown_op() -> bytes:
    return graphs.model(
        [helper.make_node("Nope", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, [2])],
    )


@pytest.mark.parametrize(
    ("onnx", "words"),
    [
        (b"", "No graph was found"),
        (b"garbage" * 10, "protobuf parsing failed"),
        (graphs.linear()[:200], "protobuf parsing failed"),
        (b"ORTM" + bytes(100), "cannot be loaded"),
        (unknown_op(), "No Op registered for Nope"),
        (graphs.model([], [], [value("y", TensorProto.FLOAT, [1])]), "cannot be loaded"),
        (graphs.identity(TensorProto.COMPLEX64), "complex64"),
    ],
)
def test_bad_files_are_refused_in_a_clean_sentence(onnx: bytes, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadModel, match=words) as caught:
        open_session(onnx, {}, CPU)
    assert "onnxruntime" not in str(caught.value).lower().replace("onnx runtime", "")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_flatbuffer_is_not_taken_for_a_model(tmp_path: Path) -> None:
    """ONNX Runtime's own format would pass by every check that is made of ONNX files."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "model.ort")
    settings.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(graphs.linear(), settings, providers=["CPUExecutionProvider"])
    flatbuffer = (tmp_path / "model.ort").read_bytes()
    assert onnxruntime.InferenceSession(flatbuffer).get_inputs()[0].name == "x"
    with pytest.raises(BadModel):
        open_session(flatbuffer, {}, CPU)


def test_out_of_memory_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(onnxruntime, "InferenceSession", raises)
    with pytest.raises(DoesNotFit, match="not enough memory to load this version"):
        open_session(graphs.linear(), {}, CPU)


def test_the_model_file_is_not_kept() -> None:
    onnx = graphs.linear()
    before = sys.getrefcount(onnx)
    opened = open_session(onnx, {}, CPU)
    assert sys.getrefcount(onnx) == before
    assert opened.run(None, {"x": np.zeros((2, 64), np.float32)})[0].shape == (2, 10)


def test_options_are_those_of_every_version() -> None:
    options = RunnerOptions(threads=2, provider_options={"allow_spinning": True})
    settings = open_session(graphs.linear(), {}, options).get_session_options()
    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (2, 1)
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert not settings.enable_mem_pattern


# Cancelling


def test_cancelled_before_it_began() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Stuck, match="cancelled"):
        open_session(graphs.mlp(layers=4), {}, CPU, cancel)


def test_not_cancelled() -> None:
    assert open_session(graphs.linear(), {}, CPU, threading.Event()).get_inputs()[0].name == "x"
    with pytest.raises(BadModel, match="protobuf parsing failed"):
        open_session(b"garbage" * 10, {}, CPU, threading.Event())


class LoadThreads:
    """The threads of the loads of one test; an earlier one may have left some behind."""

    def __init__(self) -> None:
        self._earlier = set(threading.enumerate())

    def now(self) -> list[threading.Thread]:
        found = set(threading.enumerate()) - self._earlier
        return [thread for thread in found if thread.name == "retort-load"]

    def join(self) -> None:
        for thread in self.now():
            thread.join(60)
        assert self.now() == []


@pytest.fixture
def load_threads() -> LoadThreads:
    return LoadThreads()


def test_cancelled_while_constants_are_folded(monkeypatch: pytest.MonkeyPatch, load_threads: LoadThreads) -> None:
    """A load of about half a second: it does not go on to its end. One that was quicker than whoever cancels it may."""
    cancel = threading.Event()
    real = onnxruntime.InferenceSession
    ends: list[str] = []

    def watched(*arguments: object, **more: object) -> onnxruntime.InferenceSession:
        cancel.set()
        try:
            opened = real(*arguments, **more)
        except Exception as error:
            ends.append(type(error).__name__)
            raise
        ends.append("loaded")
        return opened

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    for _ in range(10):
        cancel.clear()
        with pytest.raises(Stuck, match="cancelled"):
            open_session(graphs.slow_to_load(), {}, CPU, cancel)
        load_threads.join()
        if ends.pop() == "ModelLoadCanceled":
            return
    pytest.fail("each load went on to its end")


def test_a_load_that_hears_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, load_threads: LoadThreads) -> None:
    release = threading.Event()

    def deaf(*_: object, **__: object) -> None:
        cancel.set()
        release.wait(60)
        raise ValueError("too late")

    monkeypatch.setattr(onnxruntime, "InferenceSession", deaf)
    monkeypatch.setattr(session, "_GRACE_S", 0.1)
    cancel = threading.Event()
    with pytest.raises(Stuck, match="cancelled"):
        open_session(graphs.linear(), {}, CPU, cancel)
    assert len(load_threads.now()) == 1
    release.set()
    load_threads.join()


def test_a_cancel_that_comes_too_late_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()
    real = onnxruntime.InferenceSession

    def cancelled_at_the_end(*arguments: object, **more: object) -> onnxruntime.InferenceSession:
        opened = real(*arguments, **more)
        cancel.set()
        return opened

    monkeypatch.setattr(onnxruntime, "InferenceSession", cancelled_at_the_end)
    with pytest.raises(Stuck):
        open_session(graphs.linear(), {}, CPU, cancel)


def test_a_failed_load_keeps_no_bytes(load_threads: LoadThreads) -> None:
    """A reference cycle would hold them until the garbage collector comes by, which serving avoids."""
    onnx = bytes(graphs.linear()[:-50])
    before = sys.getrefcount(onnx)

    gc.disable()
    try:
        for cancel in (None, threading.Event()):
            with contextlib.suppress(BadModel):
                open_session(onnx, {}, CPU, cancel)
            load_threads.join()  # it may still be about to let go
            assert sys.getrefcount(onnx) == before
    finally:
        gc.enable()


# Providers


def no_gpu_libraries(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(devices, "load_libraries", lambda provider: "" if provider == "cpu" else missing)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_without_its_libraries_is_refused(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    no_gpu_libraries(monkeypatch, "libcublasLt.so.13 is not installed")
    words = rf"the {provider} provider cannot be had here: libcublasLt.so.13 is not installed; try: pip install '\.\["
    with pytest.raises(ProviderMissing, match=words):
        open_session(graphs.linear(), {}, RunnerOptions(provider))  # type: ignore[arg-type]


class OnCpu:
    """A session that fell back to the CPU, as ONNX Runtime does with a log line only."""

    def __init__(self, onnx: bytes, settings: object, providers: list[tuple[str, dict[str, str]]], **_: object) -> None:
        OnCpu.asked.append(providers)
        self._session = OnCpu.real(onnx, providers=["CPUExecutionProvider"])

    real = onnxruntime.InferenceSession
    asked: list[list[tuple[str, dict[str, str]]]] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)


@pytest.fixture
def falls_back(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, dict[str, str]]]]:
    no_gpu_libraries(monkeypatch, "")
    OnCpu.asked.clear()
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCpu)
    return OnCpu.asked


def test_a_silent_fall_back_is_refused(falls_back: list[list[tuple[str, dict[str, str]]]]) -> None:
    with pytest.raises(ProviderMissing, match="could not start it and fell back to the CPU"):
        open_session(graphs.linear(), {}, RunnerOptions("cuda"))
    assert [name for name, _ in falls_back[0]] == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_tensorrt_gets_shapes_and_a_cache_of_these_weights(
    falls_back: list[list[tuple[str, dict[str, str]]]], tmp_path: Path
) -> None:
    outside = graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin"))
    caches = []
    for onnx, external in [
        (graphs.linear(seed=1), {}),
        (graphs.linear(seed=2), {}),
        (graphs.linear(seed=1), {}),
        (graphs.matmul(numpy_helper.from_array(WEIGHTS, "w")), {}),
    ]:
        with pytest.raises(ProviderMissing):
            open_session(onnx, external, RunnerOptions("tensorrt", max_batch_size=8, cache_dir=tmp_path))
        (plain, _), (tensorrt_name, tensorrt) = falls_back[-2][0], falls_back[-1][0]
        assert (plain, tensorrt_name) == ("CPUExecutionProvider", "TensorrtExecutionProvider")
        assert tensorrt["trt_profile_max_shapes"] == "x:8x64"
        assert Path(tensorrt["trt_engine_cache_path"]).is_dir()
        caches.append(tensorrt["trt_engine_cache_path"])
    assert caches[0] == caches[2]
    assert len(set(caches)) == 3
    dirs = {session._engine_dir(outside, {"w.bin": data}, tmp_path) for data in (RAW, RAW[::-1], RAW)}
    assert len(dirs) == 2  # the external data count too


class TakesParts:
    """A TensorRT that splits the graph: one of its parts has an input that no profile of ours names."""

    asked: list[list[tuple[str, dict[str, str]]]] = []  # noqa: RUF012

    def __init__(self, onnx: bytes, settings: object, providers: list[tuple[str, dict[str, str]]], **_: object) -> None:
        TakesParts.asked.append(providers)
        if "trt_profile_max_shapes" in providers[0][1]:
            raise RuntimeError(
                "User needs to provide all the dynamic shape inputs with associated profiles if they want to explicitly"
                f" set profiles through provider options. {'Please note that. ' * 20}"
                "Following input(s) has no associated shape profiles provided: /inner/Reshape_output_0"
            )
        self._session = OnCpu.real(onnx, settings, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider"]

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)


@pytest.fixture
def takes_parts(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, dict[str, str]]]]:
    no_gpu_libraries(monkeypatch, "")
    TakesParts.asked.clear()
    monkeypatch.setattr(onnxruntime, "InferenceSession", TakesParts)
    return TakesParts.asked


def test_a_graph_that_tensorrt_takes_in_part_is_built_without_profiles(
    takes_parts: list[list[tuple[str, dict[str, str]]]], tmp_path: Path
) -> None:
    onnx = graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin"))
    opened = open_session(onnx, {"w.bin": RAW}, RunnerOptions("tensorrt", cache_dir=tmp_path))
    assert np.array_equal(opened.run(None, {"x": EYE})[0], WEIGHTS)  # external data too, at the second attempt
    _, first, second = (providers[0][1] for providers in takes_parts)
    assert "trt_profile_max_shapes" in first
    assert second == {name: value for name, value in first.items() if "profile" not in name}


def test_profiles_of_model_yaml_are_never_dropped(takes_parts: list[list[tuple[str, dict[str, str]]]]) -> None:
    which = ("min", "opt", "max")
    given = RunnerOptions("tensorrt", provider_options={f"trt_profile_{name}_shapes": "x:4x64" for name in which})
    with pytest.raises(BadModel, match="User needs to provide all the dynamic shape inputs"):
        open_session(graphs.linear(), {}, given)
    assert len(takes_parts) == 2  # the look at the inputs, and one attempt


def test_another_failure_of_tensorrt_is_not_tried_twice(
    monkeypatch: pytest.MonkeyPatch, falls_back: list[list[tuple[str, dict[str, str]]]]
) -> None:
    def broken(onnx: bytes, settings: object, providers: list[tuple[str, dict[str, str]]], **_: object) -> OnCpu:
        if providers[0][0] == "TensorrtExecutionProvider":
            falls_back.append(providers)
            raise RuntimeError("TensorRT EP failed to create engine")
        return OnCpu(onnx, settings, providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    with pytest.raises(BadModel, match="failed to create engine"):
        open_session(graphs.linear(), {}, RunnerOptions("tensorrt"))
    assert len(falls_back) == 2


def test_tensorrt_without_a_cache(falls_back: list[list[tuple[str, dict[str, str]]]]) -> None:
    with pytest.raises(ProviderMissing):
        open_session(graphs.linear(), {}, RunnerOptions("tensorrt"))
    assert "trt_engine_cache_path" not in falls_back[-1][0][1]


def test_a_cache_that_cannot_be_written_is_said(
    falls_back: list[list[tuple[str, dict[str, str]]]], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(BadModel, match="cache folder is not writable"):
        open_session(graphs.linear(), {}, RunnerOptions("tensorrt", cache_dir=blocked))
    assert falls_back == []


def test_a_wrong_provider_option_is_found_before_anything_is_loaded() -> None:
    with pytest.raises(BadModel, match="knows no option 'spin'; the nearest is 'allow_spinning'"):
        open_session(b"never read", {}, RunnerOptions(provider_options={"spin": True}))
