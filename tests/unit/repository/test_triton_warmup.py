from __future__ import annotations

import pytest

from tests.unit.repository.triton_texts import problem, read


def test_warm_up_samples_are_taken_with_their_files() -> None:
    config = read("""
      model_warmup [ { name: "w" batch_size: 2 count: 3
        inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "x.bin" } }
        inputs { key: "y" value { data_type: TYPE_INT64 dims: [ 4 ] zero_data: true } }
        inputs { key: "z" value { data_type: TYPE_STRING dims: [ 1 ] random_data: true } } } ]""")
    [sample] = config.warmup_samples
    assert (sample.name, sample.batch_size, sample.count) == ("w", 2, 3)
    assert {name: (i.datatype, i.dims, i.data, i.file) for name, i in sample.inputs.items()} == {
        "x": ("FP32", (1,), b"\0" * 8, "x.bin"),
        "y": ("INT64", (4,), "zero", ""),
        "z": ("BYTES", (1,), "random", ""),
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("data_type: TYPE_FP32 dims: [ 1 ]", "must have one of zero_data, random_data and input_data_file"),
        ("data_type: TYPE_FP32 dims: [ 1 ] zero_data: false", "must have one of"),
        ("data_type: TYPE_FP32 dims: [ -1 ] zero_data: true", "must hold sizes of 1 or more"),
        ("dims: [ 1 ] zero_data: true", "is TYPE_INVALID"),
        ('data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "../labels.txt"', "is not a plain path"),
        ('data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "none.bin"', "no readable file 'warmup/none.bin'"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(value: str, words: str) -> None:
    assert words in problem(f'model_warmup [ {{ name: "w" inputs {{ key: "x" value {{ {value} }} }} }} ]')


def test_a_sample_without_inputs_is_refused() -> None:
    assert "model_warmup 'w'.inputs is empty" in problem('model_warmup [ { name: "w" } ]')
