"""Resident memory as a child process sees it: within reason of the weights' size."""

import subprocess

import pytest

from models.evaluate.resident import measure_here, resident_bytes
from tests.unit.runtime import graphs

MIB = 1 << 20


def test_a_model_of_16_mib_adds_about_that_and_a_small_one_little() -> None:
    large = resident_bytes(graphs.mlp(layers=16), rows=4)
    small = resident_bytes(graphs.linear(), rows=4)
    assert 16 * MIB <= large <= 48 * MIB
    assert small < 4 * MIB


def test_a_model_that_does_not_load_is_an_error_and_no_figure() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        resident_bytes(b"no model", rows=1)


def test_in_this_process_the_figure_is_never_negative() -> None:
    assert measure_here(graphs.identity(shape=[4]), rows=1) >= 0
