"""Versions whose ONNX file lies coded, as model.deep: read like any other, under the same hashes and limits."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from models.compress.deep_file import encode
from service.core.errors import BadModel
from service.repository import store
from service.repository.folder import Folder
from service.repository.layout import Repository, SingleFile
from service.repository.memory_folder import MemoryFolder
from service.repository.store import VersionFiles, read_version_files
from tests.unit.repository.deep_parts import Parts
from tests.unit.repository.onnx_models import WEIGHT
from tests.unit.repository.versions import PLAIN, WITH_EXTERNAL, write_card, write_version


def coded_version(folder: Path, onnx: bytes = PLAIN, *, golden: bool = False, card: bool = False) -> Path:
    write_version(folder, onnx, golden=golden)
    (folder / "model.onnx").unlink()
    (folder / "model.deep").write_bytes(encode(onnx))
    if card:
        write_card(folder)
    return folder


def read(path: Path, *, onnx_file: str = "model.onnx", max_bytes: int = store.VERSION_LIMIT_BYTES) -> VersionFiles:
    with Folder.at(path, f"{path.parent.name}/{path.name}") as folder:
        return read_version_files(folder, path.parent.name, path.name, onnx_file=onnx_file, max_bytes=max_bytes)


def refusal(path: Path, **how: int) -> str:
    with pytest.raises(BadModel) as caught:
        read(path, **how)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("card", [True, False])
@pytest.mark.parametrize("golden", [True, False])
@pytest.mark.parametrize("onnx", [PLAIN, WITH_EXTERNAL])
def test_a_coded_version_is_read_like_any_other(tmp_path: Path, onnx: bytes, card: bool, golden: bool) -> None:
    plain = read(write_version(tmp_path / "plain" / "1", onnx, golden=golden, card=card))
    coded = read(coded_version(tmp_path / "coded" / "1", onnx, golden=golden, card=card))
    assert coded.onnx == plain.onnx == onnx
    assert coded.sha256 == hashlib.sha256(onnx).hexdigest()
    assert (coded.external, coded.facts, coded.bytes_total) == (plain.external, plain.facts, plain.bytes_total)
    assert (coded.golden is None) is not golden
    outside = WEIGHT.nbytes if onnx == WITH_EXTERNAL else 0
    assert coded.coded_bytes == len(encode(onnx))
    assert coded.disk_bytes == len(encode(onnx)) + outside
    assert (plain.coded_bytes, plain.disk_bytes) == (None, plain.bytes_total)


def test_it_stands_in_for_a_file_of_another_name(tmp_path: Path) -> None:
    assert read(coded_version(tmp_path / "m" / "1"), onnx_file="net.onnx").onnx == PLAIN
    assert read(coded_version(tmp_path / "m" / "2"), onnx_file="model.deep").onnx == PLAIN


@pytest.mark.parametrize("card", [True, False])
def test_each_file_is_opened_once(tmp_path: Path, opened: list[str], card: bool) -> None:
    version = coded_version(tmp_path / "m" / "1", card=card)
    opened.clear()
    read(version)
    files = Counter(Path(path).name for path in opened if not Path(path).is_dir())
    assert files == dict.fromkeys({"model.deep", "card.json"} if card else {"model.deep"}, 1)


@pytest.mark.parametrize("card", [True, False])
def test_both_forms_are_one_too_many(tmp_path: Path, card: bool) -> None:
    version = coded_version(tmp_path / "m" / "1")
    (version / "model.onnx").write_bytes(PLAIN)
    if card:
        write_card(version)
    assert refusal(version) == "m/1 holds 'model.onnx' and 'model.deep', which is the same coded."


def test_a_folder_named_model_onnx_beside_it_is_one_too_many(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1")
    (version / "model.onnx").mkdir()
    assert "holds 'model.onnx' and 'model.deep'" in refusal(version)


def test_what_the_card_does_not_list_is_not_read(tmp_path: Path) -> None:
    version = write_version(tmp_path / "m" / "1", card=True)
    (version / "model.deep").write_bytes(encode(PLAIN))
    assert refusal(version) == "m/1 holds 'model.deep', which card.json does not list."


def test_the_hash_is_held_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = coded_version(tmp_path / "m" / "1", card=True)
    damaged = bytearray((version / "model.deep").read_bytes())
    damaged[-1] ^= 1
    (version / "model.deep").write_bytes(damaged)
    monkeypatch.setattr(store, "decode_apart", lambda *_, **__: pytest.fail("decoded before its hash was held"))
    assert refusal(version) == "m/1: 'model.deep' has another sha256 than card.json says."


def test_without_a_card_damage_is_seen_by_the_file_itself(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1")
    damaged = bytearray((version / "model.deep").read_bytes())
    damaged[-1] ^= 1
    (version / "model.deep").write_bytes(damaged)
    assert refusal(version) == ("model.deep is not a coded model or is damaged: its skeleton has another CRC-32.")


def test_what_it_decodes_to_is_checked_like_any_model(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1", b"\xff" * 100)
    assert refusal(version).startswith("model.onnx is not an ONNX file")


def test_the_decoded_size_counts_against_the_limit(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1")
    both = len(PLAIN) + len(encode(PLAIN))
    assert read(version, max_bytes=both).onnx == PLAIN
    assert refusal(version, max_bytes=both - 1) == (
        f"model.deep decodes to {len(PLAIN)} bytes, more than the limit of {len(PLAIN) - 1}."
    )


def test_so_it_does_for_the_files_that_are_read_behind_it(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1", golden=True)
    everything = len(PLAIN) + len(encode(PLAIN)) + (version / "golden.npz").stat().st_size
    assert read(version, max_bytes=everything).golden is not None
    assert "more than the limit of" in refusal(version, max_bytes=everything - 1)


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1")
    (version / "model.deep").write_bytes(Parts(b"", b"", decoded_bytes=1 << 34, skeleton_bytes=1 << 34).file())
    assert refusal(version) == f"model.deep decodes to {1 << 34} bytes, more than the limit of {(1 << 31) - 1}."


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    version = coded_version(tmp_path / "m" / "1")
    (version / "model.deep").rename(tmp_path / "elsewhere")
    (version / "model.deep").symlink_to(tmp_path / "elsewhere")
    assert "no readable file 'model.deep'" in refusal(version)


def test_a_repository_and_a_single_file(tmp_path: Path) -> None:
    coded_version(tmp_path / "m" / "1")
    assert Repository(tmp_path).read_version("m", "1").onnx == PLAIN
    (tmp_path / "m" / "1" / "model.deep").rename(tmp_path / "net.deep")
    found = SingleFile(tmp_path / "net.deep").read_version("net", "1")
    assert (found.onnx, found.coded_bytes) == (PLAIN, len(encode(PLAIN)))


def test_one_that_came_with_a_request() -> None:
    folder = MemoryFolder({"model.deep": encode(PLAIN)}, "m/1")
    assert read_version_files(folder, "m", "1").onnx == PLAIN
