"""SST-2's files are read as published, its parts share no text, and a bad row is one clear sentence."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="text families need the library tokenizers")

from models.data import sst2, texts, tokens
from tests.support.real_data import real_data

HEADER = "sentence\tlabel\n"


def _write(folder: Path, training: str | bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    rows = "".join(f"a phrase number {n} of praise \t{n % 2}\n" for n in range(80))
    lines = {"train.tsv": HEADER + rows, "dev.tsv": HEADER + "A Phrase number 3 of praise\t1\nnew \t0\n"}
    lines["test.tsv"] = HEADER + "a phrase number 5 of praise\t1\nit 's held out \t0\n"
    for name, text in lines.items():
        (folder / name).write_text(text, encoding="utf-8")
    if training is not None:
        (folder / "train.tsv").write_bytes(training if isinstance(training, bytes) else training.encode())
    return folder


def test_the_parts_of_a_small_set(tmp_path: Path) -> None:
    splits = sst2.load(_write(tmp_path / "data"), tmp_path / "cache")
    sizes = {name: len(part) for name, part in splits.parts.items()}
    assert sizes == {"test": 2, "development": 2, "calibration": 10, "training": 68}
    assert splits.overlaps_removed == 2
    training = splits.parts["training"]
    assert training.inputs[tokens.IDS].shape == training.inputs[tokens.MASK].shape == (68, sst2.LENGTH)
    assert set(training.labels) == {0, 1}


def test_labels_stay_with_their_texts(tmp_path: Path) -> None:
    splits = sst2.load(_write(tmp_path / "data"), tmp_path / "cache")
    tokenizer = tokens.read((tmp_path / "cache" / "sst2-tokenizer.json").read_bytes())
    training = splits.parts["training"]
    for ids, label in zip(training.inputs[tokens.IDS], training.labels, strict=True):
        number = int(tokenizer.decode(ids.tolist()).replace(" ##", "").split("number ")[1].split(" of")[0])
        assert number % 2 == label


def test_the_second_time_comes_from_the_cache(tmp_path: Path) -> None:
    folder = _write(tmp_path / "data")
    first, again = (sst2.load(folder, tmp_path / "cache") for _ in range(2))
    assert {n: p.sha256() for n, p in first.parts.items()} == {n: p.sha256() for n, p in again.parts.items()}


@pytest.mark.parametrize(
    "training",
    [HEADER + "no tab\n", HEADER + "a label of its own\t2\n", HEADER + "none\t\n", HEADER, b"\xff\xfe\n\xff\t1\n"],
)
def test_a_bad_file_is_one_clear_sentence(tmp_path: Path, training: str | bytes) -> None:
    with pytest.raises(texts.BadData, match=r"train\.tsv has"):
        sst2.load(_write(tmp_path / "data", training), tmp_path / "cache")


def test_no_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(texts.BadData, match=r"SST-2 does not come with the workshop"):
        sst2.load(None, tmp_path)


def test_the_published_set(tmp_path: Path) -> None:
    splits = sst2.load(real_data("sst2"), tmp_path)
    assert {name: len(part) for name, part in splits.parts.items()} == {
        "training": 59_985,
        "development": 6_732,
        "calibration": 256,
        "test": 872,
    }
    hashes = [set(part.row_hashes()) for part in splits.parts.values()]
    assert len(set().union(*hashes)) == sum(len(part) for part in splits.parts.values())
    assert np.mean(splits.parts["test"].labels) == pytest.approx(0.509, abs=0.001)
