"""What a configuration of sequences makes of a graph's tensors, and what it is refused for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.core.contract import Array, Arrays, SequenceStep, TensorSpec
from service.core.errors import BadModel
from service.repository.config_sections import Sequences
from service.repository.model_config import ModelConfig
from service.serving.state_plan import StatePlan, plan_states
from service.serving.stateful_runner import StatefulRunner, stateful

STATES = {"states": [{"input": "h", "output": "h_out"}]}


def spec(name: str, *dims: int | str | None, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name, datatype, dims)


def plan(
    h: TensorSpec,
    h_out: TensorSpec,
    *more: TensorSpec,
    section: dict[str, Any] | None = None,
) -> StatePlan:
    inputs, outputs = [spec("x", "N", 4), h, *more], [spec("y", "N", 4), h_out]
    return plan_states(Sequences.model_validate(section or STATES), inputs, outputs, "model 'm'")


def test_rows_are_found_on_any_axis_and_the_state_begins_with_one() -> None:
    made = plan(spec("h", 2, "N", 3), spec("h_out", "N", 2, 3))
    (state,) = made.states
    assert (made.batched, made.fixed, state.input_axis, state.output_axis) == (True, True, 1, 0)
    assert (state.initial.shape, state.initial.dtype) == ((1, 2, 3), np.float32)
    assert ([one.name for one in made.inputs], [one.name for one in made.outputs]) == (["x"], ["y"])


def test_a_variable_axis_begins_with_1_or_as_configured() -> None:
    tensors = spec("h", "N", None, 3), spec("h_out", "N", None, 3)
    assert plan(*tensors).states[0].initial.shape == (1, 1, 3)
    section = {"states": [{"input": "h", "output": "h_out", "shape": [0, 3]}]}
    made = plan(*tensors, section=section)
    assert (made.states[0].initial.shape, made.fixed) == ((1, 0, 3), False)


def test_a_state_without_rows_runs_requests_one_at_a_time() -> None:
    made = plan(spec("h", 1, 8), spec("h_out", 1, 8))
    assert not made.batched
    assert made.inputs[0].dims == (None, 4), "the first axis may be time: it is not called rows any more"
    assert made.states[0].initial.shape == (1, 8)


def test_what_a_state_shares_with_an_input_is_1_where_requests_run_alone() -> None:
    made = plan(spec("h", 2, "N", 3), spec("h_out", 2, "N", 3), spec("sr", datatype="INT64"))
    assert not made.batched
    assert [one.dims for one in made.inputs] == [(1, 4), ()]


WRONG: list[tuple[TensorSpec, TensorSpec, dict[str, Any], str]] = [
    (spec("h", "N", 3), spec("h_out", "N", 3, datatype="FP64"), STATES, "is FP32, and its output 'h_out' FP64"),
    (spec("h", "N", 3, datatype="BYTES"), spec("h_out", "N", 3, datatype="BYTES"), STATES, "same kind of number"),
    (spec("h", "N", 3), spec("h_out", "N", 4), STATES, r"has shape \[-1, 3\], and its output 'h_out' \[-1, 4\]"),
    (spec("h", "N", 3), spec("h_out", "N"), STATES, "and its output"),
    (
        spec("h", "N", 3, datatype="UINT8"),
        spec("h_out", "N", 3, datatype="UINT8"),
        {"states": [{"input": "h", "output": "h_out", "initial": 300}]},
        "is UINT8, which cannot hold 300",
    ),
    (
        spec("h", "N", 1, datatype="INT32"),
        spec("h_out", "N", 1, datatype="INT32"),
        {"controls": [{"input": "h", "kind": "start", "true_value": 0.5}]},
        "is INT32, which cannot hold 0.5",
    ),
    (
        spec("h", "N", 1, datatype="BYTES"),
        spec("h_out", "N", 1),
        {"controls": [{"input": "h", "kind": "ready"}]},
        "is BYTES, expected a number or BOOL",
    ),
]


@pytest.mark.parametrize(("h", "h_out", "section", "says"), WRONG)
def test_tensors_that_do_not_fit_their_part_are_refused(
    h: TensorSpec, h_out: TensorSpec, section: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadModel, match=says) as error:
        plan(h, h_out, section=section)
    assert "model 'm'" in str(error.value)


@pytest.mark.parametrize(("value", "datatype"), [(-1, "UINT8"), (1 << 40, "INT32"), (1e40, "INT64"), (2, "BOOL")])
def test_a_value_that_the_datatype_cannot_hold_is_refused(value: float, datatype: str) -> None:
    section = {"states": [{"input": "h", "output": "h_out", "initial": value}]}
    with pytest.raises(BadModel, match="cannot hold"):
        plan(spec("h", "N", datatype=datatype), spec("h_out", "N", datatype=datatype), section=section)


def test_what_is_carried_is_a_copy_that_cannot_be_written() -> None:
    made, outputs = plan(spec("h", "N", 3), spec("h_out", "N", 3)), {"h_out": np.ones((1, 3), np.float32)}
    state = made.carried(outputs)
    outputs["h_out"][:] = 7
    assert (state["h"] == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        state["h"][:] = 7
    assert made.fill({"x": outputs["h_out"]}, state, SequenceStep(1)).keys() == {"x", "h"}


class Recorder:
    """A graph h [2, N, 3] -> h_out [2, N, 3] that notes what it was given; `closed` counts."""

    def __init__(self) -> None:
        self.inputs = (spec("x", "N", 4), spec("h", 2, "N", 3))
        self.outputs = (spec("y", "N", 4), spec("h_out", 2, "N", 3))
        self.omitted_outputs: tuple[str, ...] = ("other",)
        self.provider = "cpu"
        self.given: dict[str, Array] = {}
        self.closed = 0

    def run(self, arrays: Arrays) -> dict[str, Array]:
        self.given = dict(arrays)
        return {"y": arrays["x"], "h_out": arrays["h"] + 1}

    def stop(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


def test_a_runner_fills_in_what_is_left_out_and_turns_states_as_the_graph_has_them() -> None:
    graph = Recorder()
    runner = stateful(graph, ModelConfig.model_validate({"sequences": STATES}), "model 'm'")
    assert isinstance(runner, StatefulRunner)
    x = np.ones((5, 4), np.float32)
    assert runner.run({"x": x})["h_out"].shape == (5, 2, 3)
    assert (graph.given["h"].shape, graph.given["h"].any()) == ((2, 5, 3), False)
    h = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    answer = runner.run({"x": x, "h": h})
    assert np.array_equal(answer["h_out"], h + 1)
    assert np.array_equal(graph.given["h"][:, 3], h[3])
    assert (runner.omitted_outputs, runner.provider) == (("other",), "cpu")


def test_a_graph_that_does_not_fit_is_closed_and_one_without_sequences_is_left_alone() -> None:
    graph = Recorder()
    with pytest.raises(BadModel):
        stateful(graph, ModelConfig.model_validate({"sequences": {"states": [{"input": "z", "output": "y"}]}}), "m")
    assert graph.closed == 1
    assert stateful(graph, ModelConfig(), "m") is graph
