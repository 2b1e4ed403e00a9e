"""Made-up rows fit the specs, repeat, and differ in scale so that a per-batch scale shows."""

import numpy as np
import pytest

from service.core.contract import DTYPES, TensorSpec
from service.core.synthetic import WORDS, synthetic_feed


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_fits_its_spec(datatype: str) -> None:
    spec = TensorSpec("x", datatype, ("batch", 3, "length", None))
    array = synthetic_feed([spec], 4, batch_axis="batch", free_size=7)["x"]
    assert array.dtype == DTYPES[datatype]
    assert array.shape == (4, 3, 7, 7)


def test_a_scalar_and_a_fixed_shape_stay_what_they_are() -> None:
    feed = synthetic_feed([TensorSpec("s", "FP32", ()), TensorSpec("f", "INT64", (2, 5))], 9)
    assert feed["s"].shape == ()
    assert feed["f"].shape == (2, 5)


def test_integers_are_legal_indices_of_the_smallest_table() -> None:
    array = synthetic_feed([TensorSpec("ids", "INT64", ("b", 512))], 8, batch_axis="b")["ids"]
    assert set(np.unique(array)) == {0, 1}


def test_strings_are_bytes() -> None:
    array = synthetic_feed([TensorSpec("s", "BYTES", ("b",))], 3, batch_axis="b")["s"]
    assert list(array) == [b"0", b"1", b"12"]
    words = synthetic_feed([TensorSpec("s", "BYTES", ("b", 2))], 2, batch_axis="b", text=WORDS)["s"]
    assert words.tolist() == [[b"0", b"0"], [b"one two", b"one two"]]
    assert synthetic_feed([TensorSpec("s", "BYTES", (2,))], 1)["s"].tolist() == [b"0", b"0"]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    specs = [TensorSpec("x", "FP32", ("b", 16))]
    first = synthetic_feed(specs, 4, batch_axis="b", seed=1)["x"]
    assert np.array_equal(first, synthetic_feed(specs, 4, batch_axis="b", seed=1)["x"])
    assert not np.array_equal(first, synthetic_feed(specs, 4, batch_axis="b", seed=2)["x"])


def test_rows_differ_in_scale_only_where_there_is_a_batch() -> None:
    specs = [TensorSpec("x", "FP32", ("b", 4000))]
    spread = synthetic_feed(specs, 3, batch_axis="b")["x"].std(axis=1)
    assert spread[2] / spread[1] > 100
    flat = synthetic_feed(specs, 3, batch_axis=None, free_size=3)["x"].std(axis=1)
    assert flat.max() / flat.min() < 1.5
