"""Samples, their hashes and their .npz form."""

import io
import zipfile

import numpy as np
import pytest

from models.data.samples import Samples, arrays_to_npz, from_npz, read_arrays, to_npz


def samples(n: int = 6, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    inputs = {"image": rng.random((n, 2, 2), dtype=np.float32), "meta": rng.integers(0, 9, (n, 1))}
    return Samples(inputs, rng.integers(0, 3, n))


def test_every_input_must_have_a_row_for_each_label() -> None:
    with pytest.raises(ValueError, match="3 labels do not fit"):
        Samples({"x": np.zeros((2, 4))}, np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="do not fit"):
        Samples({}, np.zeros(0, dtype=np.int64))


def test_take_keeps_rows_together() -> None:
    taken = samples().take([4, 1])
    assert len(taken) == 2
    for name, array in samples().inputs.items():
        assert np.array_equal(taken.inputs[name], array[[4, 1]])
    assert taken.labels.tolist() == samples().labels[[4, 1]].tolist()


def test_row_hashes_follow_content_only() -> None:
    one = samples()
    shuffled = one.take([3, 0, 5, 1, 4, 2])
    assert sorted(one.row_hashes()) == sorted(shuffled.row_hashes())
    assert len(set(one.row_hashes())) == 6
    assert one.row_hashes()[3] == shuffled.row_hashes()[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i | {"image": i["image"].astype(np.float64)},
        lambda i: i | {"image": i["image"].reshape(-1, 4)},
        lambda i: i | {"image": i["image"] + np.float32(1e-6)},
        lambda i: {"picture": i["image"], "meta": i["meta"]},
        lambda i: {"image": i["image"]},
    ],
    ids=["dtype", "shape", "value", "name", "fewer inputs"],
)
def test_row_hashes_tell_apart(change) -> None:  # type: ignore[no-untyped-def]
    one = samples()
    assert not set(one.row_hashes()) & set(Samples(change(dict(one.inputs)), one.labels).row_hashes())


def test_row_hashes_do_not_depend_on_byte_order_or_memory_layout() -> None:
    one = samples()
    other = {
        "image": np.asfortranarray(one.inputs["image"]),
        "meta": one.inputs["meta"].astype(one.inputs["meta"].dtype.newbyteorder(">")),
    }
    assert Samples(other, one.labels).row_hashes() == one.row_hashes()


def test_the_hash_of_a_set_ignores_order_and_heeds_labels() -> None:
    one = samples()
    assert one.take(range(5, -1, -1)).sha256() == one.sha256()
    assert one.take(range(5)).sha256() != one.sha256()
    relabelled = Samples(one.inputs, (one.labels + 1) % 3)
    assert relabelled.sha256() != one.sha256()
    assert relabelled.row_hashes() == one.row_hashes()


def test_npz_gives_back_what_it_was_given_and_equal_bytes_for_equal_samples() -> None:
    one = samples()
    read = from_npz(to_npz(one))
    assert read.sha256() == one.sha256()
    assert {name: array.dtype for name, array in read.inputs.items()} == {"image": np.float32, "meta": np.int64}
    assert to_npz(samples()) == to_npz(one)


def test_npz_without_labels_holds_inputs_only() -> None:
    bare = from_npz(arrays_to_npz({"x": np.arange(4.0)}))
    assert (len(bare), bare.labelled, bare.targets) == (4, False, None)
    assert bare.take([2]).inputs["x"] == [2.0]


def test_targets_travel_count_and_decide_the_hash() -> None:
    one, other = (Samples({"x": np.arange(2.0)}, targets=np.array([[0.5], [end]])) for end in (1.0, 2.0))
    again = from_npz(to_npz(one))
    assert again.targets is not None
    assert np.array_equal(again.targets, [[0.5], [1.0]])
    assert again.sha256() == one.sha256() != other.sha256()
    assert not one.labelled
    with pytest.raises(ValueError, match="1 targets do not fit"):
        Samples({"x": np.arange(2.0)}, targets=np.array([0.5]))


def test_a_pickle_in_an_npz_is_not_opened() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, labels=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(buffer.getvalue())


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr(name, content)
    return buffer.getvalue()


def one_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


def flipped(data: bytes) -> bytes:
    return data[:60] + bytes((data[60] ^ 255,)) + data[61:]


HEAD = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }".ljust(117) + b"\n"
ENDLESS = b"\x93NUMPY\x01\x00" + len(HEAD).to_bytes(2, "little") + HEAD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        one_array(),
        to_npz(samples())[:200],
        flipped(to_npz(samples())),
        archive("x.npy", b"hello"),
        archive("x.npy", ENDLESS),
    ],
    ids=["empty", "text", "one array", "truncated", "damaged", "no array", "larger than memory"],
)
def test_whatever_is_no_npz_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"npz|memory|pickle"):
        read_arrays(data)
