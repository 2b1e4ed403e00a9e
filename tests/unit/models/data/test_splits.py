"""Splits by hash: disjoint, stable under order, duplicates and overlaps removed and counted."""

import itertools

import numpy as np
import pytest

from models.data.samples import Samples
from models.data.splits import split_by_hash, without

SIZES = (("a", 10), ("b", 20), ("c", 5))


def samples(n: int = 40) -> Samples:
    return Samples({"x": np.arange(n, dtype=np.float32).reshape(n, 1)}, np.arange(n, dtype=np.int64) % 3)


def test_parts_have_their_sizes_and_share_no_row() -> None:
    parts = split_by_hash(samples(), SIZES, salt="s").parts
    assert {name: len(part) for name, part in parts.items()} == dict(SIZES)
    for one, other in itertools.combinations(parts.values(), 2):
        assert not set(one.row_hashes()) & set(other.row_hashes())


def test_the_order_of_the_samples_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(40).tolist()
    first, second = (split_by_hash(s, SIZES, salt="s").parts for s in (samples(), samples().take(order)))
    assert {name: part.sha256() for name, part in first.items()} == {name: p.sha256() for name, p in second.items()}


def test_another_salt_cuts_differently() -> None:
    first, second = (split_by_hash(samples(), SIZES, salt=salt).parts["a"].sha256() for salt in "st")
    assert first != second


def test_duplicates_are_dropped_and_counted_even_with_another_label() -> None:
    doubled = samples().take([*range(40), 0, 1, 2])
    doubled.labels[-1] += 1
    found = split_by_hash(doubled, (("all", 40),), salt="s")
    assert found.overlaps_removed == 3
    assert len(set(found.parts["all"].row_hashes())) == 40


def test_negative_control_a_cut_by_position_lets_a_duplicate_into_both_parts() -> None:
    doubled = samples().take([*range(40), *range(40)])
    halves = [set(doubled.take(rows).row_hashes()) for rows in (range(40), range(40, 80))]
    assert halves[0] & halves[1]


def test_more_than_there_is_cannot_be_had() -> None:
    with pytest.raises(ValueError, match="41 samples are asked for, and only 40 distinct"):
        split_by_hash(samples(), (("a", 41),), salt="s")


def test_overlaps_with_a_published_test_set_leave_the_training_side() -> None:
    kept, removed = without(samples(), samples().take([3, 5, 39]))
    assert (len(kept), removed) == (37, 3)
    assert not {3.0, 5.0, 39.0} & set(kept.inputs["x"].ravel().tolist())
    assert without(kept, samples().take([3]))[1] == 0
