"""Golden cases are read without pickle, within a bound that holds before anything is decoded."""

import io
import pickle
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import BadModel
from service.repository import golden
from service.repository.golden import Golden, read_golden


def npz(**arrays: Any) -> bytes:
    """`input__x` becomes the member `input/x`."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("__", "/"): np.asarray(array) for name, array in arrays.items()})
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: np.ndarray, header: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = buffer.getvalue()
    if header is None:
        return content
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes()


def header(descr: str = "<f4", shape: str = "(2, 3)", more: str = "") -> bytes:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, {more}}}\n".encode()


ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
GOOD = npz(input__x=ROWS, output__y=ROWS)


def with_input(content: bytes) -> bytes:
    return zipped({"input/x.npy": content, "output/y.npy": npy(ROWS)})


def refusal(data: bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read_golden(data)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_reads_every_numeric_type(dtype: str) -> None:
    found = read_golden(npz(input__x=ROWS.astype(dtype), output__y=ROWS))
    assert found.rows == 2 and found.inputs["x"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.inputs["x"], ROWS.astype(dtype))
    np.testing.assert_array_equal(found.outputs["y"], ROWS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_both_of_numpys_forms_and_both_orders(save: Any) -> None:
    buffer = io.BytesIO()
    save(buffer, **{"input/x": np.asfortranarray(ROWS), "output/y": ROWS[:, :0]})
    found = read_golden(buffer.getvalue())
    np.testing.assert_array_equal(found.inputs["x"], ROWS)
    assert found.inputs["x"].flags.c_contiguous and found.outputs["y"].shape == (2, 0)


def test_names_may_hold_slashes() -> None:
    found = read_golden(npz(**{"input__a/b": ROWS, "output__y": ROWS}))
    assert set(found.inputs) == {"a/b"}


@pytest.mark.parametrize("kind", ["U", "S"])
def test_empty_strings_are_strings(kind: str) -> None:
    found = read_golden(npz(input__x=np.array(["", ""], kind), output__y=ROWS)).inputs["x"]
    assert found.tolist() == [b"", b""]


@pytest.mark.parametrize("texts", [np.array([["é"], ["ab"]]), np.array([["é".encode()], [b"ab"]])])
@pytest.mark.parametrize("order", ["C", "F"])
def test_strings_become_objects_of_bytes(texts: np.ndarray, order: Any) -> None:
    found = read_golden(npz(input__x=np.array(texts, order=order), output__y=ROWS)).inputs["x"]
    assert found.dtype == np.object_ and found.tolist() == [["é".encode()], [b"ab"]]


def test_a_newer_header_is_read() -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, ROWS, version=(2, 0))
    np.testing.assert_array_equal(read_golden(with_input(buffer.getvalue())).inputs["x"], ROWS)


class Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle ran",))


def test_no_pickle_runs() -> None:
    objects = np.array([Exploding(), Exploding()], dtype=object)
    assert "a type that no tensor has" in refusal(npz(input__x=objects, output__y=ROWS))
    assert "not a numpy archive" in refusal(pickle.dumps(Exploding()))


def test_negative_control_numpy_runs_it_when_let() -> None:
    data = npz(input__x=np.array([Exploding()], dtype=object))
    with pytest.raises(pytest.fail.Exception, match="a pickle ran"):
        np.load(io.BytesIO(data), allow_pickle=True)["input/x"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "must hold inputs and outputs"),
        ({"input__x": ROWS}, "must hold inputs and outputs"),
        ({"output__y": ROWS}, "must hold inputs and outputs"),
        ({"input__x": ROWS, "output__y": ROWS[:1]}, "the same number of rows"),
        ({"input__x": ROWS[:0], "output__y": ROWS[:0]}, "at least 1"),
        ({"input__x": np.float32(1), "output__y": ROWS}, "has no rows"),
        ({"x": ROWS}, "'x.npy' that is neither input"),
        ({"input__": ROWS}, "neither input"),
        ({"other__x": ROWS}, "neither input"),
        ({"input__x": ROWS.astype("c8"), "output__y": ROWS}, "a type that no tensor has"),
        ({"input__x": ROWS.astype("M8[s]"), "output__y": ROWS}, "a type that no tensor has"),
        ({"input__x": ROWS.astype(">f4"), "output__y": ROWS}, "a type that no tensor has"),
        ({"input__x": np.array(["a", "b"], ">U1"), "output__y": ROWS}, "a type that no tensor has"),
        ({"input__x": np.zeros(2, "f4,i4"), "output__y": ROWS}, "not a numpy archive"),
    ],
)
def test_what_is_not_golden_is_refused(arrays: dict[str, Any], said: str) -> None:
    assert said in refusal(npz(**arrays))


def test_two_members_of_one_name_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("input/x.npy", npy(ROWS))
    assert "two arrays of one name" in refusal(buffer.getvalue())


def test_another_compression_is_refused() -> None:
    assert "another method than deflate" in refusal(zipped({"input/x.npy": npy(ROWS)}, zipfile.ZIP_LZMA))


def test_an_encrypted_archive_is_refused() -> None:
    data = bytearray(GOOD)
    for at in (data.find(b"PK\x01\x02") + 8, data.find(b"PK\x03\x04") + 6):
        data[at] |= 1
    assert "encrypted" in refusal(bytes(data))


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "DECODED_LIMIT_BYTES", 16 << 20)
    bomb = zipped({"input/x.npy": bytes((16 << 20) + 1)})
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        assert "decodes to" in refusal(bomb)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_directory_of_many_members_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({f"input/{number}.npy": b"" for number in range(257)})
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the directory was read"))
    assert "more than 256 arrays" in refusal(data)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (header(shape="(200000000000, 3)"), "declares 2400000000000 bytes"),
        (header(shape="(2, 2)"), "declares 16 bytes"),
        (header(shape="(2, -3)"), "has no rows"),
        (header(shape="(-2, -3)"), "has no rows"),
        (header(descr="|S0", shape="(2000000,)"), "more than 1048576 strings"),
        (header(descr="|S0", shape="(2,)"), "declares 0 bytes"),
        (header(descr="|O", shape="(3,)"), "a type that no tensor has"),
        (header(descr="(2,)f4", shape="(2,)"), "a type that no tensor has"),
        (header(descr="nonsense"), "damaged"),
        (header(shape="(2.0, 3)"), "damaged"),
        (header(shape="(True, 6)"), "damaged"),
        (header(shape="[2, 3]"), "damaged"),
        (header(shape="(2, 3L)"), "damaged"),
        (b"{}", "damaged"),
        (b"[1, 2", "damaged"),
        (b"__import__('os').abort()", "damaged"),
        (b"(" * 9000, "damaged"),
        (b" " * 10_001, "damaged"),
        (b"", "damaged"),
    ],
)
def test_a_header_that_lies_is_refused(head: bytes, said: str) -> None:
    assert said in refusal(with_input(npy(ROWS, head)))


def test_text_that_no_encoding_has_is_refused() -> None:
    assert "damaged" in refusal(npz(input__x=np.array(["\ud800", "a"]), output__y=ROWS))
    beyond = np.full(2, 0x11_0000, np.uint32)
    assert "damaged" in refusal(with_input(npy(beyond, header(descr="<U1", shape="(2,)"))))


def test_a_member_that_is_no_array_is_refused() -> None:
    assert "damaged" in refusal(with_input(b"hello"))
    assert "damaged" in refusal(with_input(b"\x93NUMPY\x09\x00\x05\x00hello"))


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(zipped({"input/x.npy": npy(ROWS), "output/y.npy": npy(ROWS)}, zipfile.ZIP_STORED))
    data[data.find(ROWS.tobytes()) + 4] ^= 1
    assert "damaged" in refusal(bytes(data))


def check(data: bytes) -> None:
    try:
        found = read_golden(data)
    except BadModel as error:
        assert str(error).isprintable()
    else:
        assert isinstance(found, Golden) and found.rows >= 1


@given(st.binary(max_size=200))
def test_random_bytes_only_ever_give_bad_model(data: bytes) -> None:
    check(data)


STORED = zipped({"input/x.npy": npy(ROWS), "output/y.npy": npy(np.array(["a", "b"]))}, zipfile.ZIP_STORED)


@given(st.sampled_from([GOOD, STORED]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1))
def test_mutated_archives_only_ever_give_bad_model(seed: bytes, changes: list[tuple[float, int]]) -> None:
    data = bytearray(seed)
    for place, byte in changes:
        data[int(place * (len(data) - 1))] = byte
    check(bytes(data))


@given(st.text(alphabet="{}()[]'\":, descrfortan_shp<fUSi48-0129Tue", max_size=80))
def test_strange_headers_only_ever_give_bad_model(text: str) -> None:
    check(with_input(npy(ROWS, text.encode())))
