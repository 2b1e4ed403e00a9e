"""The digits data that is kept with the code is what scikit-learn ships, cut as the code says."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from models.data import digits
from models.data.samples import to_npz
from models.data.splits import split_by_hash


def test_the_kept_parts_are_whole() -> None:
    parts = digits.parts()
    assert {name: len(part) for name, part in parts.items()} == dict(digits.SIZES)
    for part in parts.values():
        image = part.inputs[digits.INPUT]
        assert image.shape[1:] == (1, 8, 8)
        assert image.dtype == np.float32
        assert (image.min(), image.max()) == (0, 16)
        assert set(part.labels.tolist()) == set(range(10))


def test_the_kept_parts_share_no_image() -> None:
    for one, other in itertools.combinations(digits.parts().values(), 2):
        assert not set(one.row_hashes()) & set(other.row_hashes())


def test_the_kept_files_are_small() -> None:
    folder = Path(digits.__file__).parent
    assert sum(file.stat().st_size for file in folder.glob("*.npz")) < 200_000


def test_the_kept_parts_are_what_scikit_learn_gives() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the workshop extra")
    found = digits.split(digits.load())
    assert found.overlaps_removed == 0
    assert {name: part.sha256() for name, part in found.parts.items()} == {
        name: part.sha256() for name, part in digits.parts().items()
    }
    assert np.array_equal(found.parts["test"].inputs[digits.INPUT], digits.part("test").inputs[digits.INPUT])
    assert len(to_npz(found.parts["test"])) < 50_000


def test_the_axis_of_the_channel_moves_no_image_into_another_part() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the workshop extra")
    bare = split_by_hash(digits.load(), digits.SIZES, salt=digits.NAME).parts
    for name, part in digits.parts().items():
        assert np.array_equal(part.inputs[digits.INPUT][:, 0], bare[name].inputs[digits.INPUT])
        assert np.array_equal(part.labels, bare[name].labels)


def test_negative_control_a_cut_after_the_axis_was_added_would_move_them() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the workshop extra")
    late = split_by_hash(digits.with_channel(digits.load()), digits.SIZES, salt=digits.NAME).parts
    assert late["test"].sha256() != digits.part("test").sha256()
