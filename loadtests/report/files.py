"""Writes a report's files into a folder: report.json, report.html, and each picture as a PNG."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests.outcome import Outcome
from loadtests.report.document import document
from loadtests.report.page import page
from loadtests.report.pictures import pictures
from loadtests.report.schema import Document

SCHEMA_FILE = "report.schema.json"


def write(outcome: Outcome | Document, folder: Path) -> tuple[Path, ...]:
    """Makes the folder where it is missing, and gives the files that were written; older ones are replaced.

    Raises:
        OSError: it cannot be written.
    """
    found = outcome if isinstance(outcome, Document) else document(outcome)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = pictures(found)
    contents: dict[str, bytes] = {
        "report.json": json_text(found).encode(),
        "report.html": page(found, drawn).encode(),
    } | {f"{one.name}.png": one.png() for one in drawn}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return tuple(folder / name for name in contents)


def json_text(found: Document) -> str:
    """The document as JSON, a top-level key a line: a timeline with a number a line would be thousands of them."""
    whole = found.model_dump(mode="json", by_alias=True)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in whole.items()) + "\n}\n"


def read(file: Path) -> Document:
    """A report.json that was written before.

    Raises:
        OSError: it cannot be read.
        pydantic.ValidationError: it is none.
    """
    return Document.model_validate_json(file.read_bytes())
