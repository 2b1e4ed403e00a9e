"""M1 to M3: what is loaded is what was hashed, each file is read once, and nothing is parsed before all hashes hold."""

import hashlib
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.core.errors import BadModel
from service.repository import store
from service.repository.card import FileEntry
from service.repository.folder import Folder
from service.repository.store import VersionFiles, read_single_file, read_version_files
from tests.unit.repository.onnx_models import WEIGHT, external, graph, model
from tests.unit.repository.versions import PLAIN, WITH_EXTERNAL, entry, golden_npz, write_card, write_version


def read(path: Path, max_bytes: int = store.VERSION_LIMIT_BYTES) -> VersionFiles:
    with Folder.at(path, f"{path.parent.name}/{path.name}") as folder:
        return read_version_files(folder, path.parent.name, path.name, max_bytes=max_bytes)


def refusal(path: Path, max_bytes: int = store.VERSION_LIMIT_BYTES) -> str:
    with pytest.raises(BadModel) as caught:
        read(path, max_bytes)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "/tmp" not in sentence
    return sentence


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version with external data, golden cases and a card."""
    return write_version(tmp_path / "digits" / "1", WITH_EXTERNAL, golden=True, card=True)


# What is read


def test_a_version_is_whole(version: Path) -> None:
    found = read(version)
    assert (found.model, found.version) == ("digits", "1")
    assert found.onnx == WITH_EXTERNAL
    assert found.external == {"weights/w.bin": WEIGHT.tobytes()}
    assert found.sha256 == hashlib.sha256(WITH_EXTERNAL).hexdigest()
    assert found.bytes_total == len(WITH_EXTERNAL) + 16
    assert found.card is not None and set(found.card.files) == {"model.onnx", "weights/w.bin", "golden.npz"}
    assert found.golden is not None and found.golden.rows == 2
    np.testing.assert_array_equal(found.golden.outputs["y"], found.golden.inputs["x"] + WEIGHT)
    assert not found.quantised


@pytest.mark.parametrize("onnx", [PLAIN, WITH_EXTERNAL])
@pytest.mark.parametrize("golden", [False, True])
def test_a_version_without_a_card_is_served(tmp_path: Path, onnx: bytes, golden: bool) -> None:
    found = read(write_version(tmp_path / "digits" / "1", onnx, golden=golden))
    assert found.card is None and (found.golden is not None) is golden
    assert found.onnx == onnx


def test_without_a_card_a_file_that_nobody_names_is_never_opened(tmp_path: Path, opened: list[str]) -> None:
    version = write_version(tmp_path / "digits" / "1")
    (version / "notes.txt").write_text("x")
    read(version)
    assert {Path(path).name for path in opened} == {"1", "model.onnx"}


@pytest.mark.parametrize("card", [True, False])
def test_each_file_is_opened_once(tmp_path: Path, opened: list[str], card: bool) -> None:
    two = model(graph(None, [external("w.bin"), external("w.bin", "v", offset="16")])).SerializeToString()
    version = write_version(tmp_path / "digits" / "1", two, golden=True)
    (version / "w.bin").write_bytes(WEIGHT.tobytes() * 2)
    if card:
        write_card(version)
    opened.clear()
    read(version)
    files = Counter(Path(path).name for path in opened if not Path(path).is_dir())
    names = {"model.onnx", "w.bin", "golden.npz"} | ({"card.json"} if card else set())
    assert files == dict.fromkeys(names, 1)


def test_a_file_that_changes_after_its_hash_changes_nothing(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.read_onnx_facts

    def swap_then_parse(data: bytes) -> object:
        for name in ("model.onnx", "weights/w.bin"):
            (version / name).write_bytes(b"evil")
        return real(data)

    monkeypatch.setattr(store, "read_onnx_facts", swap_then_parse)
    found = read(version)
    assert found.onnx == WITH_EXTERNAL and found.external == {"weights/w.bin": WEIGHT.tobytes()}


# M1: missing, extra, renamed, resized, swapped, wrong hash


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda v: (v / "weights/w.bin").unlink(), "lacks 'weights/w.bin', which card.json lists"),
    "missing model": (lambda v: (v / "model.onnx").unlink(), "lacks 'model.onnx', which card.json lists"),
    "extra": (lambda v: (v / "extra.bin").write_bytes(b"x"), "holds 'extra.bin', which card.json does not list"),
    "extra below": (lambda v: (v / "weights/x").write_bytes(b""), "holds 'weights/x', which card.json does not list"),
    "renamed": (lambda v: (v / "golden.npz").rename(v / "g.npz"), "lacks 'golden.npz'"),
    "extra link": (lambda v: (v / "link").symlink_to("/etc/passwd"), "holds 'link'"),
    "grown": (lambda v: os.truncate(v / "weights/w.bin", 17), "'weights/w.bin' has 17 bytes, card.json says 16"),
    "shrunk": (lambda v: os.truncate(v / "weights/w.bin", 15), "'weights/w.bin' has 15 bytes, card.json says 16"),
    "bit in weights": (lambda v: flip(v / "weights/w.bin"), "'weights/w.bin' has another sha256"),
    "bit in model": (lambda v: flip(v / "model.onnx"), "'model.onnx' has another sha256"),
    "bit in golden": (lambda v: flip(v / "golden.npz"), "'golden.npz' has another sha256"),
    "swapped": (lambda v: swap(v / "golden.npz", v / "model.onnx"), "bytes, card.json says"),
    "link": (lambda v: link_away(v / "model.onnx", Path.symlink_to), "no readable file 'model.onnx'"),
    "hard link": (lambda v: link_away(v / "model.onnx", Path.hardlink_to), "'model.onnx' is a hard link"),
}


def link_away(path: Path, link: Callable[[Path, Path], None]) -> None:
    """The same bytes, but under a second name outside the folder."""
    moved = path.parent.parent / "moved.onnx"
    path.rename(moved)
    link(path, moved)


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_tampered_folder_is_refused_before_anything_is_parsed(
    version: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for parse in ("read_onnx_facts", "read_golden"):
        monkeypatch.setattr(store, parse, lambda _: pytest.fail("something was parsed"))
    tamper, said = TAMPERED[kind]
    tamper(version)
    assert said in refusal(version)


@pytest.mark.parametrize("kind", ["missing model", "extra", "bit in golden", "grown"])
def test_negative_control_the_untampered_folder_is_parsed(version: Path, kind: str) -> None:
    assert read(version).card is not None
    TAMPERED[kind][0](version)
    with pytest.raises(BadModel):
        read(version)


@pytest.mark.parametrize("kind", ["extra", "bit in weights"])
def test_negative_control_without_the_card_the_same_folder_is_served(version: Path, kind: str) -> None:
    TAMPERED[kind][0](version)
    (version / "card.json").unlink()
    assert read(version).onnx == WITH_EXTERNAL


def test_files_that_only_the_card_names_are_verified_too(version: Path) -> None:
    (version / "labels.txt").write_text("zero")
    write_card(version)
    assert read(version).external.keys() == {"weights/w.bin"}
    (version / "labels.txt").write_text("nine")
    assert "'labels.txt' has another sha256" in refusal(version)


def test_extra_files_are_counted_and_not_opened(version: Path, opened: list[str]) -> None:
    for name in ("a", "b", "c"):
        (version / name).touch()
    assert refusal(version) == "digits/1 holds 'a' and 2 more, which card.json does not list."
    assert "model.onnx" not in {Path(path).name for path in opened}


def test_external_data_that_the_card_does_not_list_is_refused(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1", WITH_EXTERNAL)
    (version / "weights" / "w.bin").unlink()
    write_card(version)
    assert refusal(version) == "digits/1: 'weights/w.bin' is needed, and card.json does not list it."


def test_a_card_cannot_vouch_for_itself(version: Path) -> None:
    write_card(version, **{"card.json": entry(b"")})
    assert "lacks 'card.json'" in refusal(version)


@pytest.mark.parametrize("name", ["../2/model.onnx", "/etc/passwd", "a//b"])
def test_a_card_that_lists_files_elsewhere_is_refused(version: Path, opened: list[str], name: str) -> None:
    text = (version / "card.json").read_text().replace('"golden.npz":', f'"{name}":')
    (version / "card.json").write_text(text)
    opened.clear()
    refusal(version)
    assert {Path(path).name for path in opened} <= {"1", "card.json"}


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"schema": "retort.card/1"}', b"\xff"])
def test_a_broken_card_is_no_card_to_go_without(version: Path, content: bytes) -> None:
    (version / "card.json").write_bytes(content)
    assert "card.json is not a card" in refusal(version)


def test_a_card_that_is_a_link_is_not_read(version: Path) -> None:
    (version / "card.json").rename(version.parent / "card.json")
    (version / "card.json").symlink_to("../card.json")
    assert "no readable file 'card.json'" in refusal(version)


# M2: external data


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights/../../secret.bin", "w\\x"])
def test_external_data_outside_gives_no_byte(tmp_path: Path, opened: list[str], location: str) -> None:
    onnx = model(graph(None, [external(location)])).SerializeToString()
    version = write_version(tmp_path / "digits" / "1", onnx)
    (version.parent / "secret.bin").write_bytes(b"s" * 16)
    assert "plain path" in refusal(version)
    assert {Path(path).name for path in opened} == {"1", "model.onnx"}


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_external_data_through_a_link_gives_no_byte(tmp_path: Path, outside: Path, link: Callable[..., None]) -> None:
    version = write_version(tmp_path / "digits" / "1", WITH_EXTERNAL)
    (version / "weights" / "w.bin").unlink()
    link(version / "weights" / "w.bin", outside)
    assert (version / "weights" / "w.bin").read_bytes() == outside.read_bytes()
    refusal(version)


def test_external_data_through_a_linked_folder_gives_no_byte(tmp_path: Path, outside: Path) -> None:
    version = write_version(tmp_path / "digits" / "1", WITH_EXTERNAL)
    (version / "weights" / "w.bin").unlink()
    (version / "weights").rmdir()
    (version / "weights").symlink_to(outside.parent)
    (outside.parent / "w.bin").write_bytes(b"s" * 16)
    assert "no readable file 'weights/w.bin'" in refusal(version)


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1", WITH_EXTERNAL)
    os.truncate(version / "weights" / "w.bin", 15)
    assert "reaches past the end of 'weights/w.bin'" in refusal(version)


# Sizes and kinds


@pytest.mark.parametrize("card", [True, False])
def test_all_files_together_are_bounded_before_reading(tmp_path: Path, card: bool) -> None:
    version = write_version(tmp_path / "digits" / "1", WITH_EXTERNAL, card=card)
    total = len(WITH_EXTERNAL) + 16
    assert read(version, max_bytes=total).bytes_total == total
    assert "more than the limit of" in refusal(version, max_bytes=total - 1)


def test_a_model_file_over_protobufs_limit_is_refused_unread(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1")
    os.truncate(version / "model.onnx", 1 << 31)
    assert "more than the limit of 2147483647" in refusal(version)


def test_an_enormous_golden_file_is_refused_unread(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1", golden=True)
    os.truncate(version / "golden.npz", 1 << 40)
    assert "'golden.npz' has 1099511627776 bytes" in refusal(version)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1")
    (version / "model.onnx").unlink()
    assert refusal(version) == "digits/1 has no readable file 'model.onnx': no such file or directory."


@pytest.mark.parametrize("content", [b"", b"\xff" * 99, pickle.dumps({"a": 1}), PLAIN[: len(PLAIN) // 2]])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "not an ONNX file" in refusal(write_version(tmp_path / "digits" / "1", content))


def test_golden_cases_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    version = write_version(tmp_path / "digits" / "1")
    (version / "golden.npz").write_bytes(golden_npz()[:-30])
    assert "golden.npz is not a numpy archive" in refusal(version)


# One file


def test_one_file_is_read_with_its_external_data_and_nothing_else(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "any", WITH_EXTERNAL, golden=True)
    (folder / "model.onnx").rename(folder / "my net.onnx")
    (folder / "card.json").write_bytes(b"broken")
    with Folder.at(folder, "net") as opened_folder:
        found = read_single_file(opened_folder, "my net.onnx", "net", "1")
    assert found.external == {"weights/w.bin": WEIGHT.tobytes()}
    assert found.sha256 == hashlib.sha256(WITH_EXTERNAL).hexdigest()
    assert (found.card, found.golden) == (None, None)


def test_an_entry_of_the_right_hash_and_wrong_size_is_refused(version: Path) -> None:
    right = entry((version / "model.onnx").read_bytes())
    write_card(version, **{"model.onnx": FileEntry(sha256=right.sha256, bytes=right.bytes + 1)})
    assert f"card.json says {right.bytes + 1}" in refusal(version)
