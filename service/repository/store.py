"""Turns the folder of a version into verified bytes.

Each file is opened and read once; those bytes are hashed, held against the card, parsed and handed on, so that what
was checked is what is loaded. Where there is a card, the folder holds exactly what it lists, and nothing is parsed
before every hash is right. Knows nothing of roots and names (`layout`), nor of what runs the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from service.core.errors import BadModel
from service.repository.card import CARD_LIMIT_BYTES, Card, FileEntry, read_card
from service.repository.folder import Readable
from service.repository.golden import GOLDEN_LIMIT_BYTES, Golden, read_golden
from service.repository.onnx_file import OnnxFacts, read_onnx_facts
from service.repository.suggest import quoted

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
GOLDEN_FILE = "golden.npz"
VERSION_LIMIT_BYTES = 16 << 30
_ONNX_LIMIT_BYTES = (1 << 31) - 1  # protobuf's own limit of a message
_LIMITS_BYTES: Mapping[str, int] = {MODEL_FILE: _ONNX_LIMIT_BYTES, GOLDEN_FILE: GOLDEN_LIMIT_BYTES}


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """The verified bytes of one version.

    Attributes:
        model: its name.
        version: its id.
        onnx: the whole of the ONNX file; empty where a remote server runs the version.
        external: location, as the graph writes it -> the whole of that file.
        sha256: of `onnx`, in hex; "" where there is none.
        card: None where there is none, and then no hash was held against anything.
        golden: recorded cases, None where there are none.
        facts: what the ONNX file says about itself; None where there is none.
    """

    model: str
    version: str
    onnx: bytes
    external: Mapping[str, bytes]
    sha256: str
    card: Card | None
    golden: Golden | None
    facts: OnnxFacts | None

    @property
    def bytes_total(self) -> int:
        """Bytes of the ONNX file and its external files: what a runtime is given."""
        return len(self.onnx) + sum(len(data) for data in self.external.values())

    @property
    def quantised(self) -> bool:
        """Whether the graph computes in integers; of a remote one nobody here can tell, and it may."""
        return self.facts is None or self.facts.quantised

    @property
    def steady(self) -> bool:
        """Whether the work of every operator is known not to depend on values; a remote server's never is."""
        return self.facts is not None and self.facts.steady


def read_version_files(
    folder: Readable,
    model: str,
    version: str,
    *,
    onnx_file: str | None = MODEL_FILE,
    max_bytes: int = VERSION_LIMIT_BYTES,
) -> VersionFiles:
    """Reads a version's folder: the ONNX file, and card.json, golden.npz and external files where there are any.

    Args:
        folder: the version's folder, open.
        model: its name.
        version: its id.
        onnx_file: the name of the ONNX file; None where another server runs the version, and none is looked for.
        max_bytes: all its files together, held against their sizes before they are read.

    Raises:
        BadModel: the card is another version's; a file is missing, extra, of another size or hash than the card says,
            over a limit, not readable in place, or not what its name says; or the ONNX file needs what is not served.
    """
    card = read_version_card(folder)
    if card is not None and (card.model, card.version) != (model, version):
        raise BadModel(
            f"card.json is that of version '{card.version[:100]}' of model '{card.model[:100]}', not of version "
            f"'{version}' of model '{model}'"
        )
    reader = _Reader(folder, max_bytes)
    if card is not None:
        reader.read_listed(card.files)
    has_golden = GOLDEN_FILE in card.files if card else folder.has(GOLDEN_FILE)
    if onnx_file is None:
        return VersionFiles(model, version, b"", {}, "", card, _golden(reader, has_golden), None)
    # Triton also takes a folder of that name, with the file and its external data in it.
    base = f"{onnx_file}/" if card is None and onnx_file in folder.folders() else ""
    path = f"{base}{MODEL_FILE}" if base else onnx_file
    onnx = reader.bytes_of(path, _ONNX_LIMIT_BYTES)
    facts, external = _examine(onnx, reader, base)
    golden = _golden(reader, has_golden)
    return VersionFiles(model, version, onnx, external, reader.sha256_of(path), card, golden, facts)


def no_files(model: str, version: str) -> VersionFiles:
    """What a version is read from that has no folder, since another server runs it."""
    return VersionFiles(model, version, b"", {}, "", None, None, None)


def _golden(reader: _Reader, has_golden: bool) -> Golden | None:
    return read_golden(reader.bytes_of(GOLDEN_FILE, GOLDEN_LIMIT_BYTES)) if has_golden else None


def read_version_card(folder: Readable) -> Card | None:
    """What card.json says, with nothing held against it yet; None where there is none. Raises BadModel."""
    return read_card(folder.read(CARD_FILE, limit_bytes=CARD_LIMIT_BYTES)) if folder.has(CARD_FILE) else None


def read_single_file(
    folder: Readable, name: str, model: str, version: str, *, max_bytes: int = VERSION_LIMIT_BYTES
) -> VersionFiles:
    """Reads one ONNX file that the operator named, and the external files beside it; no card, no golden cases.

    Raises:
        BadModel: as `read_version_files`.
    """
    reader = _Reader(folder, max_bytes)
    onnx = reader.bytes_of(name, _ONNX_LIMIT_BYTES)
    facts, external = _examine(onnx, reader)
    return VersionFiles(model, version, onnx, external, reader.sha256_of(name), None, None, facts)


def _examine(onnx: bytes, reader: _Reader, base: str = "") -> tuple[OnnxFacts, dict[str, bytes]]:
    facts = read_onnx_facts(onnx)
    external = {location: reader.bytes_of(base + location) for location in facts.external_files}
    facts.check_external({location: len(data) for location, data in external.items()})
    return facts, external


class _Reader:
    """Reads each file of one folder at most once, all of them together within `max_bytes`."""

    def __init__(self, folder: Readable, max_bytes: int) -> None:
        self._folder = folder
        self._left_bytes = max_bytes
        self._read: dict[str, bytes] = {}
        self._sha256: dict[str, str] = {}
        self._listed: Mapping[str, FileEntry] | None = None

    def read_listed(self, listed: Mapping[str, FileEntry]) -> None:
        """Reads and verifies all files of a card; from here on there are no others."""
        present = self._folder.files() - {CARD_FILE}
        self._refuse("lacks", "which card.json lists", listed.keys() - present)
        self._refuse("holds", "which card.json does not list", present - listed.keys())
        self._listed = listed
        for location in listed:
            self.bytes_of(location, _LIMITS_BYTES.get(location, VERSION_LIMIT_BYTES))

    def bytes_of(self, location: str, most_bytes: int = VERSION_LIMIT_BYTES) -> bytes:
        """The whole of a file, of at most `most_bytes`."""
        if location not in self._read:
            entry = None if self._listed is None else self._listed.get(location)
            if self._listed is not None and entry is None:
                raise BadModel(
                    f"{self._folder.where}: the graph needs {quoted(location)}, which card.json does not list."
                )
            limit_bytes = min(self._left_bytes, most_bytes)
            size_bytes = None if entry is None else entry.bytes
            data = self._folder.read(location, limit_bytes=limit_bytes, expected_bytes=size_bytes)
            self._left_bytes -= len(data)
            self._sha256[location] = hashlib.sha256(data).hexdigest()
            if entry is not None and self._sha256[location] != entry.sha256:
                raise BadModel(f"{self._folder.where}: {quoted(location)} has another sha256 than card.json says.")
            self._read[location] = data
        return self._read[location]

    def sha256_of(self, location: str) -> str:
        """The hash, in hex, of a file that was read."""
        return self._sha256[location]

    def _refuse(self, verb: str, why: str, names: Collection[str]) -> None:
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise BadModel(f"{self._folder.where} {verb} {quoted(min(names))}{more}, {why}.")
