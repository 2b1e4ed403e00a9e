"""Banking77's files are read as published, its parts share no text, and a bad row is one clear sentence."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="text families need the library tokenizers")

from models.data import banking77, texts, tokens
from tests.support.real_data import real_data

HEADER = "text,category\n"
QUESTIONS = [f'"Where, please, is card {n}?",{("card_lost", "arrival", "fees")[n % 3]}\n' for n in range(60)]
TOKENIZER = tokens.train_word_pieces(QUESTIONS, 200)


def _write(folder: Path, training: str | None = None, test: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_text(HEADER + "".join(QUESTIONS) if training is None else training)
    held = '"where, please, is card 7?",arrival\nNew one,fees\n'
    (folder / "test.csv").write_text(HEADER + held if test is None else test)
    return folder


def test_the_parts_of_a_small_set(tmp_path: Path) -> None:
    splits = banking77.load(_write(tmp_path / "data"), tmp_path / "cache", TOKENIZER)
    sizes = {name: len(part) for name, part in splits.parts.items()}
    assert sizes == {"test": 2, "calibration": 7, "development": 7, "training": 45}
    assert splits.overlaps_removed == 1
    assert splits.parts["training"].inputs[tokens.IDS].shape == (45, banking77.LENGTH)


def test_classes_are_the_categories_in_alphabetical_order(tmp_path: Path) -> None:
    splits = banking77.load(_write(tmp_path / "data"), tmp_path / "cache", TOKENIZER)
    assert splits.parts["test"].labels.tolist() == [0, 2]
    tokenizer = tokens.read(TOKENIZER)
    training = splits.parts["training"]
    for ids, label in zip(training.inputs[tokens.IDS], training.labels, strict=True):
        number = int(tokenizer.decode(ids.tolist()).replace(" ##", "").split("card ")[1].split()[0].rstrip("?"))
        assert label == (1, 0, 2)[number % 3]


def test_another_tokenizer_is_another_entry_of_the_cache(tmp_path: Path) -> None:
    folder = _write(tmp_path / "data")
    one = banking77.load(folder, tmp_path / "cache", TOKENIZER)
    other = banking77.load(folder, tmp_path / "cache", tokens.train_word_pieces(QUESTIONS, 50))
    assert not np.array_equal(one.parts["test"].inputs[tokens.IDS], other.parts["test"].inputs[tokens.IDS])


@pytest.mark.parametrize("training", ["a,b\n1,2\n", HEADER])
def test_a_bad_training_file_is_one_clear_sentence(tmp_path: Path, training: str) -> None:
    with pytest.raises(texts.BadData, match=r"train\.csv"):
        banking77.load(_write(tmp_path / "data", training), tmp_path / "cache", TOKENIZER)


def test_a_category_that_training_does_not_have_is_named(tmp_path: Path) -> None:
    folder = _write(tmp_path / "data", test=HEADER + "What?,nonsense\n")
    with pytest.raises(texts.BadData, match=r"test\.csv .*'nonsense'"):
        banking77.load(folder, tmp_path / "cache", TOKENIZER)


def test_the_published_set(tmp_path: Path) -> None:
    data = real_data("banking77")
    questions = (data / "train.csv").read_text(encoding="utf-8").splitlines()
    splits = banking77.load(data, tmp_path, tokens.train_word_pieces(questions, 8000))
    sizes = {name: len(part) for name, part in splits.parts.items()}
    assert (sizes["test"], sizes["development"], sizes["calibration"]) == (3080, 1000, 256)
    assert sum(sizes.values()) + splits.overlaps_removed == 13_083
    assert len(set(splits.parts["test"].labels)) == banking77.CLASSES
    hashes = {name: set(part.row_hashes()) for name, part in splits.parts.items()}
    assert not hashes["test"] & (hashes["training"] | hashes["development"] | hashes["calibration"])
    assert not hashes["development"] & hashes["training"]
