"""From files to a version that answers: every kind of file, and whatever stands in its way."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from service.core.contract import DTYPES, Array, InferRequest
from service.core.deadline import Deadline
from service.core.errors import BadModel, NotFound, ProviderMissing, Refused, RetortError, Unavailable
from service.repository.model_config import ModelConfig
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.serving.servable import Servable
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.house import House, until

ROWS = models.rows(1, 2, 3)


async def load(house: House, version: str = "1", **config: Any) -> Servable:
    """Loads one version, without anything else of serving around it; the caller retires it."""
    servable = await house.loader().load("m", version, ModelConfig(**config))
    assert servable is not None
    return servable


async def answers(house: House, onnx: bytes, inputs: dict[str, Array], **config: Any) -> dict[str, Array]:
    """What a version made of `onnx` answers to one request."""
    house.put("1", onnx)
    servable = await load(house, **config)
    try:
        return dict((await servable.infer(InferRequest(inputs), Deadline.never())).outputs)
    finally:
        await servable.retire()


@pytest.mark.parametrize("datatype", DTYPES)
async def test_every_datatype_goes_in_and_comes_out_as_it_was(house: House, datatype: str) -> None:
    if datatype == "BYTES":
        x: Array = np.asarray([["a", "é", "", "0"]] * 3, dtype=object)
        x = np.asarray([[text.encode() for text in row] for row in x], dtype=object)
    else:
        x = np.asarray([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]).astype(DTYPES[datatype])
    y = (await answers(house, models.copies(datatype), {"x": x}))["y"]
    assert y.dtype == x.dtype
    assert np.array_equal(x, y)


@pytest.mark.parametrize(
    ("onnx", "inputs", "expected"),
    [
        (
            models.sum_and_difference(),
            {"a": ROWS, "b": np.ones((3, 4), np.int64)},
            {"sum": ROWS + 1, "difference": ROWS - 1},
        ),
        (models.row_sums(), {"x": np.ones((2, 9), np.float32)}, {"y": np.float32([9, 9])}),
        (graphs.identity(shape=(3, 4)), {"x": ROWS}, {"y": ROWS}),
        (graphs.identity(shape=()), {"x": np.asarray(7, np.float32)}, {"y": np.asarray(7, np.float32)}),
        (graphs.identity(shape=("A", "B")), {"x": ROWS}, {"y": ROWS}),
        (models.scales(2.0), {"x": ROWS[:0]}, {"y": ROWS[:0]}),
        (models.scales(2.0, opset=7), {"x": ROWS}, {"y": ROWS * 2}),
        (models.scales(2.0, opset=13), {"x": ROWS}, {"y": ROWS * 2}),
    ],
    ids=["two and two", "variable length", "fixed batch", "scalar", "two free axes", "no rows", "opset 7", "opset 13"],
)
async def test_every_shape_answers(
    house: House, onnx: bytes, inputs: dict[str, Array], expected: dict[str, Array]
) -> None:
    found = await answers(house, onnx, inputs)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


async def test_requests_of_other_lengths_are_answered_beside_each_other(house: House) -> None:
    house.put("1", models.row_sums())
    servable = await load(house)
    requests = [InferRequest({"x": np.ones((1, length), np.float32)}) for length in (3, 5, 3, 7, 5)]
    found = await asyncio.gather(*(servable.infer(request, Deadline.never()) for request in requests))
    assert [answer.outputs["y"].tolist() for answer in found] == [[3], [5], [3], [7], [5]]
    await servable.retire()


async def test_weights_in_another_file_are_loaded_with_it(house: House) -> None:
    house.put("1", models.adds_stored_outside(), w_bin=models.WEIGHTS.tobytes())
    servable = await load(house)
    answer = await servable.infer(InferRequest({"x": ROWS}), Deadline.never())
    assert np.array_equal(answer.outputs["y"], ROWS + models.WEIGHTS)
    await servable.retire()


async def test_several_instances_run_side_by_side(house: House, open_runners: list[OnnxRunner]) -> None:
    house.put("1", graphs.loop())
    servable = await load(house, instances=2)
    assert len(open_runners) == 2
    slow = asyncio.ensure_future(servable.infer(InferRequest(models.turns(10_000_000)), Deadline.never()))
    quick = await asyncio.wait_for(servable.infer(InferRequest(models.turns(1)), Deadline.never()), 30)
    assert quick.outputs["y"].shape == (64, 64)
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await servable.retire()


async def test_nothing_is_left_where_not_all_threads_of_engines_can_be_started(
    house: House, open_runners: list[OnnxRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[threading.Thread] = []
    start = threading.Thread.start

    def one_alone(thread: threading.Thread) -> None:
        if thread.name == "engine":
            if engines:
                raise RuntimeError("can't start new thread")
            engines.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", one_alone)
    house.put("1", models.scales(2.0))
    with pytest.raises(Unavailable, match=r"no threads for .*; try again later"):
        await load(house, instances=2)
    assert not open_runners
    await until(lambda: not engines[0].is_alive())


async def test_what_it_took_and_weighs_is_told(house: House) -> None:
    house.put("1", models.scales(2.0))
    servable = await load(house)
    assert servable.origins.load_ms > 0
    assert servable.origins.warm_ms > 0
    assert servable.statistics.load_s == pytest.approx((servable.origins.load_ms + servable.origins.warm_ms) / 1e3)
    assert servable.identity.bytes_total == len(models.scales(2.0))
    assert servable.statistics.pending() == 0
    await servable.retire()


async def test_a_version_whose_files_are_the_same_is_not_loaded_again(house: House) -> None:
    folder = house.put("1", models.adds_stored_outside(), w_bin=models.WEIGHTS.tobytes())
    servable = await load(house)
    loader, config = house.loader(), ModelConfig()
    assert await loader.load("m", "1", config, unless=servable.identity) is None
    (folder / "w.bin").write_bytes((models.WEIGHTS + 1).tobytes())
    fresh = await loader.load("m", "1", config, unless=servable.identity)
    assert fresh is not None
    answer = await fresh.infer(InferRequest({"x": ROWS}), Deadline.never())
    assert np.array_equal(answer.outputs["y"], ROWS + models.WEIGHTS + 1)
    await asyncio.gather(servable.retire(), fresh.retire())


async def test_other_knobs_make_it_another_version(house: House) -> None:
    house.put("1", models.scales(2.0))
    servable = await load(house)
    fresh = await house.loader().load("m", "1", ModelConfig(max_batch_size=4), unless=servable.identity)
    assert fresh is not None
    assert fresh.max_batch_size == 4
    await asyncio.gather(servable.retire(), fresh.retire())


def no_folder(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    folder.rmdir()


def no_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def truncated(folder: Path) -> None:
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[: len(whole) // 2])


def random_bytes(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(1000))


def of_another_opset(folder: Path) -> None:
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    model.opset_import[0].version = 1_000
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def needs_another_file(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(models.adds_stored_outside())


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (no_folder, NotFound),
        (no_file, BadModel),
        (truncated, BadModel),
        (random_bytes, BadModel),
        (of_another_opset, BadModel),
        (needs_another_file, BadModel),
    ],
)
async def test_broken_files_are_refused_in_words_and_leave_no_runner(
    house: House, open_runners: list[OnnxRunner], spoil: Any, kind: type[RetortError]
) -> None:
    spoil(house.put("1", models.scales(2.0)))
    with pytest.raises(kind) as refused:
        await load(house)
    assert type(refused.value) is kind
    assert "Traceback" not in str(refused.value)
    assert str(house.root) not in str(refused.value)
    assert open_runners == []


async def test_golden_cases_that_do_not_hold_leave_no_runner(house: House, open_runners: list[OnnxRunner]) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 3}))
    with pytest.raises(Refused):
        await load(house, instances=3)
    assert open_runners == []


async def test_a_provider_that_is_not_to_be_had_says_what_to_install(house: House) -> None:
    house.put("1", models.scales(2.0))
    with pytest.raises(ProviderMissing, match=r"cuda provider cannot be had here: this is a test; try: pip install"):
        await load(house, provider="cuda")
    servable = await load(house, provider="auto")
    assert servable.provider == "cpu"
    await servable.retire()


async def test_each_instance_has_its_device_and_the_session_that_the_configuration_wants(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[RunnerOptions] = []
    build = OnnxRunner.load

    def recording(onnx: bytes, external: Any, options: RunnerOptions, cancel: Any) -> OnnxRunner:
        built.append(options)
        return build(onnx, external, options, cancel)

    monkeypatch.setattr(OnnxRunner, "load", recording)
    house.put("1", models.scales(2))
    more = {"accelerator_options": {"gpu_mem_limit": 5}, "provider_options": {"allow_spinning": True}}
    servable = await load(house, instances=3, devices=(1, 0), session={"mem_arena": False}, **more)
    lost, replace = servable.batcher.crew.engines[1], servable.batcher.crew._replace
    assert replace is not None
    replace(replace(lost))
    await servable.retire()
    assert [options.device_id for options in built] == [1, 0, 1, 0, 0]  # in the place of the one that was on 0
    assert {tuple(options.session.items()) for options in built} == {(("mem_arena", False),)}
    assert built[0].provider_options == {"allow_spinning": True}  # the CPU has no memory limit of an accelerator


async def test_tensorrt_where_it_is_to_be_had_is_the_cpu_where_nothing_is(house: House) -> None:
    house.put("1", models.scales(2))
    servable = await load(house, provider="auto-tensorrt")
    assert servable.provider == "cpu"
    await servable.retire()


async def test_the_file_may_have_another_name(house: House) -> None:
    folder = house.put("1", models.scales(2))
    (folder / "model.onnx").rename(folder / "net.onnx")
    servable = await load(house, onnx_file="net.onnx")
    await servable.retire()
    with pytest.raises(BadModel, match=r"model\.onnx"):
        await load(house)
