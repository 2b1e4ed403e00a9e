"""Resident memory as a child process sees it: within reason of the weights' size."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.evaluate.resident import _end, measure_here, resident_bytes
from service.core.errors import RunFailed, Stuck
from tests.unit.models.evaluate import planted
from tests.unit.runtime import graphs

MIB = 1 << 20


def test_a_model_of_16_mib_adds_about_that_and_a_small_one_little() -> None:
    large = resident_bytes(graphs.mlp(layers=16), {"x0": np.ones((4, 512), np.float32)})
    small = resident_bytes(graphs.linear(), {"x": np.ones((4, 64), np.float32)})
    assert 16 * MIB <= large <= 48 * MIB
    assert small < 4 * MIB


def test_texts_are_run_as_they_are() -> None:
    assert resident_bytes(planted.text(), planted.texts(8)) < 4 * MIB


def test_negative_control_ids_outside_the_vocabulary_fail() -> None:
    feed = planted.texts(8)
    with pytest.raises(RunFailed, match=r"memory cannot be measured: .* failed: "):
        resident_bytes(planted.text(), {**feed, "ids": feed["ids"] + 50})


def test_a_model_that_does_not_load_is_an_error_and_no_figure() -> None:
    with pytest.raises(RunFailed, match="memory cannot be measured"):
        resident_bytes(b"no model", {"x": np.ones((1, 4), np.float32)})


def test_one_that_takes_too_long_is_told_in_a_sentence() -> None:
    with pytest.raises(Stuck, match=r"expected to load and run once within 0\.01 s"):
        resident_bytes(graphs.linear(), {"x": np.ones((4, 64), np.float32)}, timeout_s=0.01)


def test_in_this_process_the_figure_is_never_negative() -> None:
    nothing = graphs.identity(shape=["batch"])
    assert measure_here(graphs.identity(shape=[4]), {"x": np.ones(4, np.float32)}, nothing) >= 0


def test_a_child_that_is_killed_is_told_so() -> None:
    assert _end(subprocess.CalledProcessError(-9, "child")) == "was ended by signal 9, as for want of memory"


def test_a_package_called_models_in_the_working_folder_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert resident_bytes(graphs.linear(), {"x": np.ones((4, 64), np.float32)}) < 4 * MIB
