from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.core.contract import Array, Arrays, TensorSpec, common_first_axis
from service.core.errors import BadModel
from service.repository.model_config import ModelConfig
from service.serving.declared import BATCH_AXIS, DeclaredRunner, declare


class Graph:
    """Answers `y` = `x` and `z` = twice `x`, and remembers the shapes that it was given."""

    provider = "cpu"
    omitted_outputs = ("map",)

    def __init__(self, *dims: Any, outputs: tuple[Any, ...] | None = None) -> None:
        self.inputs = (TensorSpec("x", "FP32", dims),)
        given = dims if outputs is None else outputs
        self.outputs = (TensorSpec("y", "FP32", given), TensorSpec("z", "FP32", given))
        self.seen: list[tuple[int, ...]] = []
        self.stopped = self.closed = False

    def run(self, arrays: Arrays) -> dict[str, Array]:
        self.seen.append(arrays["x"].shape)
        return {"y": arrays["x"], "z": arrays["x"] * 2}

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


def tensor(name: str, *dims: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "dims": dims, **more}


def config(**values: Any) -> ModelConfig:
    return ModelConfig.model_validate(values)


def test_a_configuration_that_declares_nothing_changes_nothing() -> None:
    graph = Graph("N", 4)
    assert declare(graph, ModelConfig(), "m") is graph


def test_the_batch_is_every_first_axis_whatever_it_is_called() -> None:
    graph = Graph("a", 4, outputs=(None, 4))
    assert common_first_axis([*graph.inputs, *graph.outputs]) is None
    runner = declare(graph, config(batched=True), "m")
    assert common_first_axis([*runner.inputs, *runner.outputs]) == BATCH_AXIS


def test_without_a_batch_no_first_axis_is_one() -> None:
    runner = declare(Graph("N", 4), config(batched=False), "m")
    assert common_first_axis([*runner.inputs, *runner.outputs]) is None
    assert runner.inputs[0].shape == (-1, 4)


def test_declared_sizes_narrow_what_the_graph_leaves_open() -> None:
    runner = declare(Graph("N", "T", 4), config(batched=True, inputs=[tensor("x", 7, 4)]), "m")
    assert runner.inputs[0].dims == (BATCH_AXIS, 7, 4)
    assert declare(Graph("N", "T"), config(batched=True, inputs=[tensor("x", -1)]), "m").inputs[0].dims[1] == "T"


def test_outputs_that_are_not_declared_are_not_answered() -> None:
    runner = declare(Graph("N", 4), config(batched=True, outputs=[tensor("z", 4)]), "m")
    assert [spec.name for spec in runner.outputs] == ["z"]
    assert list(runner.run({"x": np.ones((1, 4), np.float32)})) == ["z"]


def test_what_a_sequence_keeps_is_answered_too_and_need_not_be_declared() -> None:
    sequences = {"states": [{"input": "x", "output": "y"}]}
    values = config(batched=True, outputs=[tensor("z", 4)], sequences=sequences)
    assert [spec.name for spec in declare(Graph("N", 4), values, "m").outputs] == ["y", "z"]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_shapes_are_changed_on_the_way_in_and_out(rows: int) -> None:
    graph = Graph("N", 2, 2)
    declared = [tensor("x", 4, reshape=(2, 2))], [tensor("y", 1, 4, reshape=(2, 2)), tensor("z", 2, 2)]
    runner = declare(graph, config(batched=True, inputs=declared[0], outputs=declared[1]), "m")
    assert [spec.shape for spec in (*runner.inputs, *runner.outputs)] == [(-1, 4), (-1, 1, 4), (-1, 2, 2)]
    sent = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    answer = runner.run({"x": sent})
    assert graph.seen == [(rows, 2, 2)]
    assert answer["y"].shape == (rows, 1, 4)
    assert np.array_equal(answer["y"].reshape(rows, 4), sent)
    assert answer["z"].shape == (rows, 2, 2)


def test_variable_axes_keep_their_sizes_and_a_scalar_of_each_row_has_one_axis() -> None:
    graph = Graph("N", "T", 2, 2)
    runner = declare(graph, config(batched=True, inputs=[tensor("x", -1, 4, reshape=(-1, 2, 2))]), "m")
    assert runner.run({"x": np.zeros((3, 5, 4), np.float32)})["y"].shape == (3, 5, 2, 2)
    flat = Graph("N")
    runner = declare(flat, config(batched=True, inputs=[tensor("x", 1, reshape=())]), "m")
    runner.run({"x": np.zeros((3, 1), np.float32)})
    assert flat.seen == [(3,)]


@pytest.mark.parametrize(
    ("dims", "values", "words"),
    [
        (("N", 4), {"batched": True, "inputs": [tensor("w", 4)]}, "input 'w' of the configuration is not in the graph"),
        (("N", 4), {"batched": True, "outputs": [tensor("w", 4)]}, "output 'w' of the configuration is not in the gr"),
        (("N", 4), {"inputs": [tensor("x", 4, datatype="INT64")], "batched": True}, "is INT64 in the configuration"),
        (("N", 4), {"batched": True, "inputs": [tensor("x", 5)]}, "dims [5] in the configuration and [4] in the graph"),
        (("N", 4), {"batched": True, "inputs": [tensor("x", -1)]}, "dims [-1] in the configuration and [4]"),
        (("N", 4), {"batched": True, "inputs": [tensor("x", 4, 1)]}, "behind the batch axis"),
        (("N", 4), {"batched": False, "inputs": [tensor("x", 4)]}, "dims [4] in the configuration and [-1, 4] in"),
        ((2, 4), {"batched": True}, "has no variable first axis in the graph"),
        ((), {"batched": True}, "has no variable first axis in the graph"),
    ],
)
def test_a_contradiction_closes_the_runner_and_says_where(
    dims: tuple[Any, ...], values: dict[str, Any], words: str
) -> None:
    graph = Graph(*dims)
    with pytest.raises(BadModel) as caught:
        declare(graph, config(**values), "version '1' of model 'm'")
    assert words in str(caught.value)
    assert str(caught.value).startswith("version '1' of model 'm': ")
    assert graph.closed


def test_an_input_that_is_left_out_is_missed_unless_the_server_fills_it_in() -> None:
    class Two(Graph):
        def __init__(self) -> None:
            super().__init__("N", 4)
            self.inputs = (*self.inputs, TensorSpec("h", "FP32", ("N", 4)))

    declared: dict[str, Any] = {"batched": True, "inputs": [tensor("x", 4)]}
    with pytest.raises(BadModel, match="the graph needs input 'h'"):
        declare(Two(), config(**declared), "m")
    for more in ({"states": [{"input": "h", "output": "y"}]}, {"controls": [{"input": "h", "kind": "start"}]}):
        assert len(declare(Two(), config(**declared, sequences=more), "m").inputs) == 2


def test_recorded_cases_have_the_graph_s_shapes() -> None:
    values = config(batched=True, inputs=[tensor("x", 4, reshape=(2, 2))])
    assert isinstance(declare(Graph("N", 2, 2), values, "m"), DeclaredRunner)
    with pytest.raises(BadModel, match="cannot be held against golden cases"):
        declare(Graph("N", 2, 2), values, "m", has_golden=True)


def test_the_rest_is_the_runner_s() -> None:
    graph = Graph("N", 4)
    runner = declare(graph, config(batched=True), "m")
    assert (runner.provider, runner.omitted_outputs) == ("cpu", ("map",))
    runner.stop()
    runner.close()
    assert graph.stopped
    assert graph.closed


def test_a_defect_of_ours_leaves_no_runner_open_either() -> None:
    class Odd(Graph):
        @property
        def outputs(self) -> tuple[TensorSpec, ...]:
            raise LookupError("planted")

        @outputs.setter
        def outputs(self, _given: tuple[TensorSpec, ...]) -> None:
            pass

    graph = Odd("N", 4)
    with pytest.raises(LookupError, match="planted"):
        declare(graph, config(batched=True), "m")
    assert graph.closed
