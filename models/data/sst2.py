"""SST-2: phrases of film reviews, 0 for a negative and 1 for a positive one; published in three files.

Socher et al. 2013, "Recursive Deep Models for Semantic Compositionality over a Sentiment Treebank". Files train.tsv,
dev.tsv and test.tsv with the columns `sentence` and `label`. The pieces of words are learnt from train.tsv alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.data import texts, tokens
from models.data.samples import Samples
from models.data.splits import Splits
from models.data.texts import BadData, Published

NAME = "sst2"
SOURCE = "Stanford Sentiment Treebank with two classes, phrases, as published with ALPS"
LICENCE = "MIT (the files); the reviews are their authors'"
FILES = ("train.tsv", "dev.tsv", "test.tsv")
CLASSES = 2
LENGTH = 64
VOCABULARY = 8000
CALIBRATION = 256

Rows = list[tuple[str, int]]


def load(folder: Path | None, cache: Path) -> Splits:
    """The parts training, development, calibration and test: ids and mask, int64 (n, `LENGTH`), labels 0 and 1.

    The tokenizer is kept in the cache as well, sst2-tokenizer.json: who asks the model needs it.

    Raises:
        BadData: a file is missing or not in its form.
    """
    files = texts.read(folder, FILES, "SST-2")
    depends_on = {**files, "settings": f"{LENGTH} {VOCABULARY}".encode()}

    def make() -> Splits:
        rows = {name: _rows(name, data) for name, data in files.items()}
        tokenizer_json = tokens.train_word_pieces([text for text, _ in rows["train.tsv"]], VOCABULARY)
        cache.mkdir(parents=True, exist_ok=True)
        (cache / f"{NAME}-tokenizer.json").write_bytes(tokenizer_json)
        return split(rows, tokenizer_json)

    return texts.cached(cache, NAME, depends_on, make)


def split(rows: Mapping[str, Rows], tokenizer_json: bytes) -> Splits:
    """The parts, from the rows of `FILES`."""
    training, development, test = (_samples(rows[name], tokenizer_json) for name in FILES)
    calibration = min(CALIBRATION, len(training) // 8)
    return texts.divide(Published(training, test, development), calibration=calibration, development=0, salt=NAME)


def _rows(name: str, data: bytes) -> Rows:
    try:
        lines = data.decode().split("\n")
        cut = [line.rstrip("\r").rsplit("\t", 1) for line in lines[1:] if line.strip()]
        rows = [(text, ("0", "1").index(label)) for text, label in cut]
    except (UnicodeDecodeError, ValueError) as error:
        raise BadData(f"{name} has a row that is not a text, a tab and 0 or 1: {error}.") from error
    if not rows:
        raise BadData(f"{name} has no rows.")
    return rows


def _samples(rows: Rows, tokenizer_json: bytes) -> Samples:
    encoded = tokens.encode(tokens.read(tokenizer_json), [text for text, _ in rows], LENGTH)
    return Samples(encoded, np.array([label for _, label in rows], np.int64))
