"""Version folders on disk, with cards that fit them."""

import hashlib
import io
from pathlib import Path

import numpy as np

from service.repository.card import Card, FileEntry
from tests.unit.repository.onnx_models import WEIGHT, external, graph, model

PLAIN = model().SerializeToString()
WITH_EXTERNAL = model(graph(None, [external("weights/w.bin")])).SerializeToString()


def golden_npz() -> bytes:
    buffer = io.BytesIO()
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(buffer, **{"input/x": rows, "output/y": rows + WEIGHT})
    return buffer.getvalue()


def write_version(folder: Path, onnx: bytes = PLAIN, *, golden: bool = False, card: bool = False) -> Path:
    """Writes a version; external data is written where `WITH_EXTERNAL` looks for it."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx)
    if onnx == WITH_EXTERNAL:
        (folder / "weights").mkdir()
        (folder / "weights" / "w.bin").write_bytes(WEIGHT.tobytes())
    if golden:
        (folder / "golden.npz").write_bytes(golden_npz())
    if card:
        write_card(folder)
    return folder


def write_card(folder: Path, **extra: FileEntry) -> None:
    """A card that lists every file in the folder, and `extra`."""
    files = {
        path.relative_to(folder).as_posix(): entry(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "card.json"
    }
    card = Card(model=folder.parent.name, version=folder.name, files={**files, **extra})
    (folder / "card.json").write_bytes(card.to_json())


def entry(data: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
