from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from service.repository.config_tensors import Session
from service.runtime import session_options
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.runtime.session import open_session
from service.runtime.trial_job import TrialJob, read_job
from tests.unit.runtime import graphs

LEVELS = onnxruntime.GraphOptimizationLevel


def changed(**wanted: Any) -> Any:
    settings = SimpleNamespace(entries={}, inter_op_num_threads=1, enable_mem_pattern=False)
    settings.add_session_config_entry = settings.entries.__setitem__
    session_options.change(settings, wanted)  # type: ignore[arg-type]
    return settings


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("all", LEVELS.ORT_ENABLE_ALL),
        ("extended", LEVELS.ORT_ENABLE_EXTENDED),
        ("basic", LEVELS.ORT_ENABLE_BASIC),
        ("disabled", LEVELS.ORT_DISABLE_ALL),
    ],
)
def test_levels_are_onnx_runtime_s(name: str, level: Any) -> None:
    assert changed(graph_optimization=name).graph_optimization_level == level


def test_parallel_operators_take_every_core_or_as_many_threads_as_they_are_given() -> None:
    settings = changed(parallel=True)
    assert (settings.execution_mode, settings.inter_op_num_threads) == (onnxruntime.ExecutionMode.ORT_PARALLEL, 0)
    assert changed(inter_op_threads=3, parallel=True).inter_op_num_threads == 3
    assert changed(parallel=False).inter_op_num_threads == 1


def test_memory_is_as_wanted() -> None:
    settings = changed(mem_arena=False, mem_pattern=True, device_allocator=True)
    assert (settings.enable_cpu_mem_arena, settings.enable_mem_pattern) == (False, True)
    assert settings.entries == {"session.use_device_allocator_for_initializers": "1"}


def test_nothing_wanted_changes_nothing() -> None:
    assert not hasattr(changed(graph_optimization=None), "graph_optimization_level")
    assert changed().entries == {}


def test_every_key_of_the_configuration_is_known() -> None:
    assert session_options.CHANGES.keys() == Session.model_fields.keys()


def test_sessions_get_them() -> None:
    wanted = {"graph_optimization": "disabled", "parallel": True, "inter_op_threads": 2, "mem_arena": False}
    options = open_session(graphs.linear(), {}, RunnerOptions(session=wanted)).get_session_options()
    assert options.graph_optimization_level == LEVELS.ORT_DISABLE_ALL
    assert (options.inter_op_num_threads, options.enable_cpu_mem_arena) == (2, False)
    usual = open_session(graphs.linear(), {}, RunnerOptions()).get_session_options()
    assert (usual.graph_optimization_level, usual.inter_op_num_threads) == (LEVELS.ORT_ENABLE_ALL, 1)


@pytest.mark.parametrize("values", [{"parallel": True}, {"mem_pattern": True}, {"device_allocator": True}])
def test_answers_are_the_same_with_them(values: dict[str, Any]) -> None:
    def answer(**session: Any) -> Any:
        runner = OnnxRunner.load(graphs.linear(), {}, RunnerOptions(session=session))
        [spec] = runner.inputs
        shape = [size if size > 0 else 2 for size in spec.shape]
        [out] = runner.run({spec.name: np.ones(shape, spec.dtype)}).values()
        kept = out.copy()
        runner.close()
        return kept

    assert np.allclose(answer(**values), answer())


def test_a_trial_is_run_with_them(tmp_path: Any) -> None:
    path = tmp_path / "job"
    with path.open("wb") as pipe:
        TrialJob(b"m", {}, [], RunnerOptions(session={"mem_arena": False}, device_id=3)).write(pipe)
    with path.open("rb") as pipe:
        options = read_job(pipe).options
    assert (options.session, options.device_id) == ({"mem_arena": False}, 3)
