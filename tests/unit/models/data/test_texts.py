"""Parts of texts share no row, what was removed is counted, and a cache gives back what was cut."""

from pathlib import Path

import numpy as np
import pytest

from models.data import texts
from models.data.samples import Samples
from models.data.splits import Splits


def _samples(*ids: int) -> Samples:
    array = np.array(ids, np.int64)
    return Samples({"input_ids": array[:, np.newaxis]}, array % 2)


def _hashes(splits: Splits) -> dict[str, set[str]]:
    return {name: set(part.row_hashes()) for name, part in splits.parts.items()}


def _disjoint(splits: Splits) -> bool:
    hashes = list(_hashes(splits).values())
    return len(set().union(*hashes)) == sum(map(len, hashes))


def test_rows_of_the_test_set_leave_the_training_side_and_are_counted() -> None:
    published = texts.Published(training=_samples(*range(50), 3, 3), test=_samples(45, 46, 100))
    splits = texts.divide(published, calibration=5, development=10, salt="s")
    assert {name: len(part) for name, part in splits.parts.items()} == {
        "test": 3,
        "calibration": 5,
        "development": 10,
        "training": 33,
    }
    assert splits.overlaps_removed == 4
    assert _disjoint(splits)


def test_overlaps_would_be_seen_by_the_check() -> None:
    assert not _disjoint(Splits({"training": _samples(1, 2), "test": _samples(2, 3)}, 0))


def test_a_published_development_set_is_kept_apart_from_both_sides() -> None:
    published = texts.Published(_samples(*range(40)), _samples(90, 91), _samples(91, 38, 70, 71, 70))
    splits = texts.divide(published, calibration=4, development=0, salt="s")
    assert sorted(splits.parts["development"].inputs["input_ids"][:, 0]) == [38, 70, 71]
    assert len(splits.parts["training"]) == 39 - 4
    assert splits.overlaps_removed == 3
    assert _disjoint(splits)


def test_the_test_set_is_left_as_it_was_published() -> None:
    test = _samples(7, 7, 8)
    splits = texts.divide(texts.Published(_samples(*range(20)), test), calibration=2, development=2, salt="s")
    assert splits.parts["test"] is test


def test_the_order_of_the_training_rows_changes_no_part() -> None:
    one, other = (
        texts.divide(texts.Published(_samples(*rows), _samples(99)), calibration=5, development=5, salt="s")
        for rows in (range(30), reversed(range(30)))
    )
    assert _hashes(one) == _hashes(other)


def test_the_cache_gives_back_what_was_made_and_makes_it_once(tmp_path: Path) -> None:
    made = []

    def make() -> Splits:
        made.append(1)
        return texts.divide(texts.Published(_samples(*range(20)), _samples(99)), calibration=2, development=2, salt="s")

    first = texts.cached(tmp_path, "set", {"file": b"a"}, make)
    again = texts.cached(tmp_path, "set", {"file": b"a"}, make)
    assert _hashes(first) == _hashes(again)
    assert first.overlaps_removed == again.overlaps_removed
    assert again.parts["training"].inputs["input_ids"].dtype == np.int64
    assert len(made) == 1
    texts.cached(tmp_path, "set", {"file": b"b"}, make)
    assert len(made) == 2


def test_an_interrupted_cache_is_made_anew(tmp_path: Path) -> None:
    splits = Splits({"test": _samples(1, 2)}, 5)
    texts.cached(tmp_path, "set", {}, lambda: splits)
    (folder,) = tmp_path.iterdir()
    (folder / "overlaps_removed").unlink()
    (folder / "test.npz").write_bytes(b"half a fi")
    assert len(texts.cached(tmp_path, "set", {}, lambda: splits).parts["test"]) == 2


def test_no_folder_and_a_missing_file_are_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(texts.BadData, match=r"name its folder, with a\.csv, b\.csv"):
        texts.read(None, ("a.csv", "b.csv"), "A set")
    (tmp_path / "a.csv").write_bytes(b"x")
    with pytest.raises(texts.BadData, match=r"lacks b\.csv"):
        texts.read(tmp_path, ("a.csv", "b.csv"), "A set")
    assert texts.read(tmp_path, ("a.csv",), "A set") == {"a.csv": b"x"}
