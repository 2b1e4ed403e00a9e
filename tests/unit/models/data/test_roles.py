"""Roles are disjoint by content, and the test set loses nothing but its development part."""

from __future__ import annotations

import numpy as np

from models.data.roles import DEVELOPMENT_SHARE, assign, cut, judged
from models.data.samples import Samples


def samples(numbers: range | list[int]) -> Samples:
    rows = np.array(list(numbers), np.float32)[:, np.newaxis]
    return Samples({"x": rows}, rows[:, 0].astype(np.int64))


def numbers(part: Samples | None) -> list[int]:
    assert part is not None
    return part.inputs["x"][:, 0].astype(int).tolist()


def test_overlaps_leave_calibration_and_development_and_are_counted() -> None:
    roles = assign(samples(range(10)), samples(range(5, 20)), samples(range(8, 30)))
    assert numbers(roles.test) == list(range(8, 30))
    assert numbers(roles.development) == [5, 6, 7]
    assert numbers(roles.calibration) == [0, 1, 2, 3, 4]
    assert roles.overlaps_removed == 12 + 5


def test_without_overlaps_nothing_is_lost() -> None:
    roles = assign(samples(range(3)), samples(range(3, 6)), samples(range(6, 9)))
    assert roles.overlaps_removed == 0
    assert [numbers(part) for part in (roles.calibration, roles.development, roles.test)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]


def test_a_share_of_the_test_file_becomes_the_development_set() -> None:
    roles = assign(None, None, samples(range(100)))
    development, test = numbers(roles.development), numbers(roles.test)
    assert len(development) == round(DEVELOPMENT_SHARE * 100)
    assert sorted(development + test) == list(range(100))
    assert roles.overlaps_removed == 0


def test_order_does_not_decide_who_goes_where() -> None:
    one, _ = cut(samples(range(50)), 0.3)
    other, _ = cut(samples(list(reversed(range(50)))), 0.3)
    assert set(numbers(one)) == set(numbers(other))
    assert numbers(one) != sorted(range(15))


def test_equal_inputs_stay_together() -> None:
    development, test = cut(samples([*range(20), *range(20)]), 0.3)
    assert not set(numbers(development)) & set(numbers(test))
    assert len(development) == 12


def test_labels_and_targets_go_with_their_rows() -> None:
    part, _ = cut(samples(range(40)), 0.5)
    assert part.labels.tolist() == numbers(part)


def test_without_a_test_set_calibration_still_keeps_off_development() -> None:
    roles = assign(samples(range(5)), samples(range(3, 8)), None)
    assert roles.test is None
    assert numbers(roles.calibration) == [0, 1, 2]
    assert roles.overlaps_removed == 2


def test_the_judged_rows_of_a_test_file_are_all_of_it_or_what_was_not_development() -> None:
    whole = Samples({"x": np.arange(40, dtype=np.float32).reshape(20, 2)}, np.arange(20) % 2)
    rest = cut(whole, DEVELOPMENT_SHARE)[1]
    assert 0 < len(rest) < len(whole)
    for told in (whole, rest):
        found = judged(whole, {told.sha256()})
        assert found is not None
        assert found.sha256() == told.sha256()
    assert judged(rest, {whole.sha256()}) is None
