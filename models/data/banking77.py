"""Banking77: 13,083 short questions of a bank's customers, 77 intents; published as training and test files.

Casanueva et al. 2020, "Efficient Intent Detection with Dual Sentence Encoders", CC BY 4.0. Files train.csv and
test.csv with the columns `text` and `category`. Classes are the categories in alphabetical order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.data import texts, tokens
from models.data.samples import Samples
from models.data.splits import Splits
from models.data.texts import BadData, Published

NAME = "banking77"
SOURCE = "Banking77, PolyAI, as published in task-specific-datasets"
LICENCE = "CC-BY-4.0"
FILES = ("train.csv", "test.csv")
CLASSES = 77
LENGTH = 40
CALIBRATION, DEVELOPMENT = 256, 1000


def load(folder: Path | None, cache: Path, tokenizer_json: bytes) -> Splits:
    """The parts training, development, calibration and test: ids and mask, int64 (n, `LENGTH`), labels 0..76.

    Args:
        folder: with `FILES`.
        cache: where the encoded parts are kept.
        tokenizer_json: of the model that the texts are for.

    Raises:
        BadData: a file is missing or not in its form.
    """
    files = texts.read(folder, FILES, "Banking77")
    depends_on = {**files, "tokenizer": tokenizer_json, "length": str(LENGTH).encode()}
    return texts.cached(cache, NAME, depends_on, lambda: split(files, tokenizer_json))


def split(files: Mapping[str, bytes], tokenizer_json: bytes) -> Splits:
    """The parts, from the content of `FILES`; smaller sets give proportionally smaller development parts."""
    rows = {name: _rows(name, data) for name, data in files.items()}
    categories = sorted({category for _, category in rows["train.csv"]})
    training, test = (_samples(name, rows[name], categories, tokenizer_json) for name in FILES)
    calibration, development = (min(n, len(training) // 8) for n in (CALIBRATION, DEVELOPMENT))
    return texts.divide(Published(training, test), calibration=calibration, development=development, salt=NAME)


def _rows(name: str, data: bytes) -> list[tuple[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        return [(row["text"], row["category"]) for row in rows]
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        raise BadData(f"{name} is no CSV with the columns text and category: {error}.") from error


def _samples(name: str, rows: list[tuple[str, str]], categories: list[str], tokenizer_json: bytes) -> Samples:
    numbers = {category: at for at, category in enumerate(categories)}
    strange = sorted({category for _, category in rows} - numbers.keys())
    if strange or not rows:
        raise BadData(
            f"{name} has no rows, or categories that are not in train.csv: {', '.join(map(repr, strange[:3]))}."
        )
    encoded = tokens.encode(tokens.read(tokenizer_json), [text for text, _ in rows], LENGTH)
    return Samples(encoded, np.array([numbers[category] for _, category in rows], np.int64))
