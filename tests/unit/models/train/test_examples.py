"""Examples keep inputs, labels and places together, however often they are taken from."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.examples import Examples  # noqa: E402


def examples() -> Examples:
    at = torch.arange(10)
    return Examples((at.float().unsqueeze(1), at * 10), at % 3)


def test_rows_are_places_in_the_whole_set_through_two_cuts() -> None:
    whole = examples()
    batch = whole.take(torch.tensor([7, 2, 9, 4]))
    part = batch.part(slice(1, 3))
    again = batch.take(torch.tensor([3, 0]))
    assert whole.rows is None
    assert batch.rows.tolist() == [7, 2, 9, 4]
    assert (part.rows.tolist(), part.inputs[1].tolist(), part.labels.tolist()) == ([2, 9], [20, 90], [2, 0])
    assert (again.rows.tolist(), again.inputs[0].flatten().tolist()) == ([4, 7], [4.0, 7.0])
    assert whole.part(slice(8, 10)).rows.tolist() == [8, 9]
    assert len(part) == 2


def test_the_same_device_costs_no_copy() -> None:
    whole = examples()
    assert whole.to(torch.device("cpu")) is whole


def test_the_hash_is_of_inputs_labels_dtypes_and_shapes() -> None:
    whole = examples()
    assert whole.sha256() == examples().sha256()
    others = [
        Examples(whole.inputs, whole.labels.roll(1)),
        Examples((whole.inputs[0] + 1, whole.inputs[1]), whole.labels),
        Examples((whole.inputs[0].reshape(10), whole.inputs[1]), whole.labels),
        Examples((whole.inputs[0], whole.inputs[1].int()), whole.labels),
        Examples(whole.inputs[::-1], whole.labels),
    ]
    assert len({one.sha256() for one in (whole, *others)}) == 6


def test_a_view_hashes_as_what_it_shows() -> None:
    turned = torch.arange(6).reshape(2, 3).T
    labels = torch.zeros(3, dtype=torch.int64)
    assert Examples((turned,), labels).sha256() == Examples((turned.contiguous(),), labels).sha256()
