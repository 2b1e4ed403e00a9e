from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.compress.deep_file import encode
from service.core.errors import BadModel, NotFound
from service.repository.layout import Repository, SingleFile
from service.repository.memory_folder import MemoryFolder
from service.repository.overlay import Overlay, Override, check_override
from tests.unit.repository.versions import PLAIN, WITH_EXTERNAL, golden_npz, write_version

CONFIG = json.dumps({"max_batch_size": 4})


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    write_version(tmp_path / "digits" / "1", card=True)
    (tmp_path / "digits" / "model.yaml").write_text("max_batch_size: 16")
    return Overlay(Repository(tmp_path), max_bytes=10_000)


def test_without_an_override_the_source_below_is_read(overlay: Overlay) -> None:
    assert (overlay.models(), overlay.versions("digits"), overlay.given("digits")) == (["digits"], ["1"], None)
    assert overlay.read_config("digits").max_batch_size == 16
    assert overlay.read_version("digits", "1").onnx == PLAIN
    assert overlay.read_card("digits", "1") is not None


def test_folders_of_a_configuration_s_own_files_are_no_versions(overlay: Overlay) -> None:
    brought = {"1/model.onnx": PLAIN, "warmup/x": b"\0", "initial_state/h": b"\0", "labels.txt": b"a"}
    overlay.put("digits", Override(CONFIG, brought))
    assert overlay.versions("digits") == ["1"]


def test_a_configuration_alone_leaves_the_files(overlay: Overlay) -> None:
    overlay.put("digits", Override(CONFIG))
    assert overlay.read_config("digits").max_batch_size == 4
    assert overlay.read_config("digits", '{"max_batch_size": 2}').max_batch_size == 2
    assert overlay.versions("digits") == ["1"]
    assert overlay.read_version("digits", "1").card is not None
    overlay.put("digits", None)
    assert overlay.read_config("digits").max_batch_size == 16


def test_a_configuration_finds_files_beside_those_on_disk(overlay: Overlay, tmp_path: Path) -> None:
    (tmp_path / "digits" / "labels.txt").write_text("a\nb\n")
    output = {"name": "y", "data_type": "TYPE_FP32", "dims": [2], "label_filename": "labels.txt"}
    overlay.put("digits", Override(json.dumps({"output": [output]})))
    assert overlay.read_config("digits").labels == ("a", "b")


def test_files_stand_for_the_whole_folder(overlay: Overlay) -> None:
    files = {"2/model.onnx": WITH_EXTERNAL, "2/weights/w.bin": b"\0" * 16, "10/model.onnx": PLAIN}
    overlay.put("digits", Override(CONFIG, files))
    assert overlay.versions("digits") == ["2", "10"]
    assert overlay.read_version("digits", "2").external == {"weights/w.bin": b"\0" * 16}
    assert overlay.read_card("digits", "2") is None
    for read in (overlay.read_version, overlay.read_card):
        with pytest.raises(NotFound, match="has no version '1'"):
            read("digits", "1")


def test_files_make_a_model_that_is_nowhere_else(overlay: Overlay) -> None:
    overlay.put("new", Override(CONFIG))
    assert overlay.models() == ["digits"]
    overlay.put("new", Override(CONFIG, {"1/model.onnx": PLAIN}))
    assert overlay.models() == ["digits", "new"]
    assert overlay.read_config("new").max_batch_size == 4


def test_files_are_verified_as_those_on_disk_are(overlay: Overlay, tmp_path: Path) -> None:
    card = (tmp_path / "digits" / "1" / "card.json").read_bytes()
    overlay.put("digits", Override(CONFIG, {"1/model.onnx": PLAIN, "1/card.json": card}))
    assert overlay.read_version("digits", "1").card is not None
    overlay.put("digits", Override(CONFIG, {"1/model.onnx": PLAIN + b"\0", "1/card.json": card}))
    with pytest.raises(BadModel, match=r"card\.json says"):
        overlay.read_version("digits", "1")
    overlay.put("digits", Override(CONFIG, {"1/model.onnx": b"\xff" * 20}))
    with pytest.raises(BadModel):
        overlay.read_version("digits", "1")
    overlay.put("digits", Override("", {"1/model.onnx": b"\0" * 8_000, "1/golden.npz": b"\0" * 1_000}))
    with pytest.raises(BadModel, match="is damaged"):
        overlay.read_version("digits", "1")
    overlay.put("digits", Override(CONFIG, {"1/model.onnx": PLAIN, "1/golden.npz": golden_npz()}))
    assert overlay.read_version("digits", "1").golden is not None


def test_the_file_may_have_another_name_or_be_in_a_folder(overlay: Overlay) -> None:
    overlay.put(
        "digits",
        Override(
            CONFIG,
            {"1/net.onnx": PLAIN, "2/model.onnx/model.onnx": WITH_EXTERNAL, "2/model.onnx/weights/w.bin": b"\0" * 16},
        ),
    )
    assert overlay.read_version("digits", "1", "net.onnx").onnx == PLAIN
    assert overlay.read_version("digits", "2").onnx == WITH_EXTERNAL
    with pytest.raises(BadModel, match=r"model\.onnx"):
        overlay.read_version("digits", "1")


@pytest.mark.parametrize(
    "path", ["../1/model.onnx", "/1/model.onnx", "1//model.onnx", "1/../x", "", "1/a\\b", "c:/x", ".hidden/model.onnx"]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(BadModel):
        check_override("m", Override(CONFIG, {path: b""}))


def test_plain_paths_pass_and_one_file_is_no_folder() -> None:
    check_override("m", Override(CONFIG, {"1/model.onnx": b"", "labels.txt": b"", "1-int8/a/b": b""}))
    with pytest.raises(BadModel, match="'1/a' lies below a file"):
        check_override("m", Override(CONFIG, {"1": b"", "1/a": b""}))
    with pytest.raises(BadModel, match="is no name of a model"):
        check_override("../m", Override(CONFIG))


def test_one_file_as_a_model_takes_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(PLAIN)
    overlay = Overlay(SingleFile(tmp_path / "net.onnx"))
    overlay.put("net", Override(CONFIG))
    assert overlay.read_config("net").max_batch_size == 4


def test_a_folder_in_memory_reads_as_one_on_disk() -> None:
    folder = MemoryFolder({"a": b"1", "b/c": b"22", "b/d/e": b"333"}, "m")
    assert (folder.folders(), folder.files()) == (["b"], {"a", "b/c", "b/d/e"})
    assert [folder.has(name) for name in ("a", "b", "c")] == [True, True, False]
    below = folder.child("b")
    assert (below.where, below.files(), below.read("d/e", limit_bytes=3)) == ("m/b", {"c", "d/e"}, b"333")
    with pytest.raises(BadModel, match="more than the limit of 2"):
        below.read("d/e", limit_bytes=2)
    with pytest.raises(BadModel, match=r"card\.json says 4"):
        below.read("d/e", limit_bytes=9, expected_bytes=4)
    with pytest.raises(BadModel, match="no readable file"):
        folder.read("b", limit_bytes=9)
    with pytest.raises(BadModel, match="is not a plain path"):
        folder.read("../a", limit_bytes=9)


def test_what_is_brought_for_all_models_together_is_bounded(overlay: Overlay) -> None:
    overlay.put("a", Override("{}", {"1/model.onnx": b"\0" * 6_000}))
    for name in ("b", "a"):
        with pytest.raises(BadModel, match="at most 10000 bytes"):
            overlay.put(name, Override("{}", {"1/model.onnx": b"\0" * (6_000 if name == "b" else 11_000)}))
    overlay.put("a", Override("{}", {"1/model.onnx": b"\0" * 9_000}))  # in the place of its own
    overlay.put("a", None)
    overlay.put("b", Override("{}", {"1/model.onnx": b"\0" * 6_000}))
    for index in range(999):
        overlay.put(f"m{index}", Override(""))
    with pytest.raises(BadModel, match="at most 1000 models"):
        overlay.put("more", Override(""))
    overlay.restore("more", Override(""))  # what was there before is never refused
    assert overlay.given("more") == Override("")


def test_names_of_empty_files_take_memory_too(overlay: Overlay) -> None:
    names = [f"1/{index:0100d}" for index in range(40)]
    overlay.put("a", Override("", dict.fromkeys(names[:20], b"")))
    with pytest.raises(BadModel, match="at most 10000 bytes"):
        overlay.put("a", Override("", dict.fromkeys(names, b"")))


def test_what_lies_coded_in_a_request_is_bounded_by_the_request(tmp_path: Path) -> None:
    overlay = Overlay(Repository(tmp_path), max_request_bytes=1_000)
    coded = encode(b"\0" * 9_000)
    assert len(coded) < 200
    overlay.put("m", Override(CONFIG, {"1/model.deep": coded}))
    with pytest.raises(BadModel, match=r"decodes to 9000 bytes, more than the limit of 7[89]\d\d"):
        overlay.read_version("m", "1")
    overlay.put("m", Override(CONFIG, {"1/model.deep": encode(PLAIN)}))
    assert overlay.read_version("m", "1").onnx == PLAIN
