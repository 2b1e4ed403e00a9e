"""What running a version finds out about it, on real sessions."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from service.core.contract import Array, Arrays
from service.core.cpu import cpu_class
from service.core.errors import BadModel, Refused
from service.repository.card import Batching
from service.repository.layout import Repository
from service.repository.model_config import ModelConfig
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.runtime.runner import Runner
from service.serving.examine import Examined, examine, golden_chunk_rows
from service.serving.gate import Machine
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.cards import card
from tests.unit.serving.house import Golden, House

ROWS = models.rows(1, 2, 3)


def found(house: House, config: ModelConfig | None = None, instances: int = 1) -> Examined:
    """Examines version 1 of model m as it lies on disk."""
    files = Repository(house.root).read_version("m", "1")
    runners: Sequence[Runner] = [OnnxRunner.load(files.onnx, files.external, RunnerOptions()) for _ in range(instances)]
    try:
        return examine(files, config or ModelConfig(), runners)
    finally:
        for runner in runners:
            runner.close()


def test_a_plain_version_is_batched_and_timed_at_every_size(house: House) -> None:
    house.put("1", models.scales(2.0))
    examined = found(house)
    assert examined.batchability.mixes
    assert examined.batchability.sensitivity == 0.0
    assert examined.signature.batch_axis == "N"
    assert all(0 < examined.curve.predict_s(rows) < 1 for rows in (1, 2, 4, 8, 16, 32))
    assert examined.machine == Machine("cpu", cpu_class())
    assert (examined.rows.source, examined.golden) == ("synthetic", None)
    assert np.array_equal(examined.expected["y"], examined.rows.take([0])["x"] * 2)


@pytest.mark.parametrize(
    ("onnx", "reason"),
    [
        (models.softmax_over_rows(), "a row's answer changed by"),
        (models.quantises_dynamically(), "more than the 0.001 that batching allows"),
        (models.one_row_only(), "do not all begin with one and the same variable axis"),
        (graphs.identity(shape=(3, 4)), "do not all begin with one and the same variable axis"),
        (graphs.identity(shape=()), "do not all begin with one and the same variable axis"),
        (models.reads_one_row_at_a_time(), "a batch of 2 rows does not run as its rows do alone"),
    ],
    ids=["softmax over axis 0", "dynamic quantisation", "one row", "fixed shape", "scalar", "fails on two rows"],
)
def test_what_is_no_batch_is_never_mixed_and_says_why(house: House, onnx: bytes, reason: str) -> None:
    house.put("1", onnx)
    batchability = found(house).batchability
    assert batchability.mode == "single-request-only"
    assert reason in batchability.reason


def test_the_cards_word_binds_where_the_probe_finds_nothing(house: House) -> None:
    says = Batching(mode="single-request-only", sensitivity=0.02, reason="its scale is per tensor")
    house.put("1", models.scales(2.0), card=card(variant_of=None, batching=says))
    assert found(house).batchability.reason == "its scale is per tensor"


def test_a_maximum_of_one_row_does_not_make_a_batch_of_what_is_none(house: House) -> None:
    house.put("1", models.softmax_over_rows())
    assert not found(house, ModelConfig(max_batch_size=1)).batchability.mixes
    house.put("1", models.scales(2.0))
    assert found(house, ModelConfig(max_batch_size=1)).batchability.mixes


def test_half_precision_is_held_to_the_tolerance_of_quantised_graphs(house: House) -> None:
    house.put("1", models.copies("FP16"))
    assert found(house).batchability.mixes


def test_without_warm_up_only_one_row_is_timed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    asked: list[int] = []
    monkeypatch.setattr("service.serving.examine.warm", lambda _run, _rows, most: asked.append(most) or [])
    found(house)
    found(house, ModelConfig(warmup=False))
    assert asked == [32, 1]


def test_every_instance_is_run_before_it_answers_anyone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    rows: dict[int, int] = {}
    run = OnnxRunner.run

    def noting(runner: OnnxRunner, arrays: Arrays) -> dict[str, Array]:
        rows[id(runner)] = max(rows.get(id(runner), 0), arrays["x"].shape[0])
        return run(runner, arrays)

    monkeypatch.setattr(OnnxRunner, "run", noting)
    found(house, instances=3)
    assert list(rows.values()) == [32, 32, 32]


def test_golden_cases_are_held_and_serve_as_probe_rows(house: House) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    examined = found(house)
    assert examined.golden is not None
    assert (examined.golden.n, examined.golden.max_abs, examined.golden.known_here) == (3, 0.0, False)
    assert examined.rows.source == "golden"
    assert np.array_equal(examined.expected["y"], ROWS[:1] * 2)


@pytest.mark.parametrize(
    ("golden", "sentence"),
    [
        (({"x": ROWS}, {"y": ROWS * 3}), "output 'y' has"),
        (({"x": ROWS}, {"z": ROWS}), "output 'z' has another shape or datatype"),
    ],
)
@pytest.mark.parametrize("max_batch_size", [1, 32])
def test_golden_cases_that_do_not_hold_are_refused(
    house: House, golden: Golden, sentence: str, max_batch_size: int
) -> None:
    house.put("1", models.scales(2.0), golden=golden)
    with pytest.raises(Refused, match=sentence) as refused:
        found(house, ModelConfig(max_batch_size=max_batch_size))
    assert "golden" in refused.value.verdict


@pytest.mark.parametrize("inputs", [{"other": ROWS}, {"x": ROWS[:, :2]}, {"x": ROWS.astype(np.int64)}])
def test_golden_cases_of_another_model_are_a_broken_version(house: House, inputs: Arrays) -> None:
    house.put("1", models.scales_wide(2.0), golden=(inputs, {"y": ROWS}))
    with pytest.raises(BadModel, match=r"^version '1' of model 'm' does not run on its own golden cases: "):
        found(house)


def test_a_version_that_nothing_made_up_runs_on_is_served_request_by_request(house: House) -> None:
    house.put("1", models.never_runs())
    examined = found(house)
    assert examined.rows is None
    assert not examined.batchability.mixes
    assert not examined.steady
    assert re.match(r"nothing made up runs on it, and it has no golden cases: .*reshape", examined.batchability.reason)


def test_a_version_that_its_golden_cases_do_not_run_on_is_broken(house: House) -> None:
    house.put("1", models.never_runs(), golden=({"x": ROWS}, {"y": ROWS}))
    with pytest.raises(BadModel, match=r"does not run on its own golden cases: .*"):
        found(house)


def test_an_output_drawn_at_random_is_not_expected_again(house: House) -> None:
    house.put("1", models.draws_lots())
    examined = found(house)
    assert set(examined.expected) == {"same"}
    assert not examined.batchability.mixes


@pytest.mark.parametrize(
    ("onnx", "rows"),
    [(models.scales(1.0), 32), (models.softmax_over_rows(), 1), (graphs.identity(shape=(3, 4)), None)],
)
def test_golden_rows_run_as_requests_would(house: House, onnx: bytes, rows: int | None) -> None:
    house.put("1", onnx)
    examined = found(house)
    assert examined.golden_chunk_rows == rows
    assert golden_chunk_rows(examined.signature, examined.batchability, 32) == rows


@pytest.mark.parametrize(
    ("onnx", "steady", "fixed"),
    [
        (models.scales(2.0), True, True),
        (graphs.identity(shape=(3, 4)), True, True),
        (graphs.identity(shape=("N", "length")), True, False),
        (graphs.identity(shape=("N", None)), True, False),
        (graphs.identity(shape=(None, None)), True, False),
        (models.copies("BYTES"), True, False),
        (graphs.loop(), False, True),
    ],
    ids=["batch", "fixed", "variable axis", "unknown axis", "unknown axes", "text", "loop"],
)
def test_a_version_is_steady_where_a_runs_time_depends_on_its_size_alone(
    house: House, onnx: bytes, steady: bool, fixed: bool
) -> None:
    house.put("1", onnx)
    examined = found(house)
    assert (examined.steady, examined.signature.fixed) == (steady, fixed)


@pytest.mark.parametrize("onnx", [models.splits_words(), models.reads_numbers()], ids=["words", "numerals"])
def test_texts_that_see_each_other_are_found_out(house: House, onnx: bytes) -> None:
    house.put("1", onnx)
    assert found(house).batchability.mode == "single-request-only"


@pytest.mark.parametrize("count", [1, 40])
def test_recorded_rows_that_are_too_alike_hide_no_scale_that_rows_share(house: House, count: int) -> None:
    alike = np.tile(np.float32([0, 5, 10, 255]), (count, 1))
    house.put("1", models.quantises_dynamically(), golden=({"x": alike}, {"y": alike}))
    examined = found(house)
    assert examined.rows.source == "golden"
    assert examined.batchability.mode == "single-request-only"


def test_control_the_same_rows_leave_a_sound_version_its_batches(house: House) -> None:
    alike = np.tile(np.float32([0, 5, 10, 255]), (40, 1))
    house.put("1", models.scales(2.0), golden=({"x": alike}, {"y": alike * 2}))
    assert found(house).batchability.mixes
