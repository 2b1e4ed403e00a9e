"""Turns the folder of a version into verified bytes.

Each file is opened and read once; those bytes are hashed, held against the card, parsed and handed on, so that what
was checked is what is loaded. Where there is a card, the folder holds exactly what it lists, and nothing is parsed
before every hash is right. A coded ONNX file is decoded after that, and from there on is like any other.
Knows nothing of roots and names (`layout`), nor of what runs the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from service.core.errors import BadModel
from service.repository.card import CARD_LIMIT_BYTES, Card, FileEntry, read_card
from service.repository.deep_apart import decode_apart
from service.repository.folder import Readable
from service.repository.golden import GOLDEN_LIMIT_BYTES, Golden, read_golden
from service.repository.onnx_file import OnnxFacts, read_onnx_facts
from service.repository.suggest import quoted

MODEL_FILE = "model.onnx"
CODED_FILE = "model.deep"
CARD_FILE = "card.json"
GOLDEN_FILE = "golden.npz"
VERSION_LIMIT_BYTES = 16 << 30
_CODED_SUFFIX = ".deep"
_ONNX_LIMIT_BYTES = (1 << 31) - 1  # protobuf's own limit of a message
_LIMITS_BYTES: Mapping[str, int] = {
    MODEL_FILE: _ONNX_LIMIT_BYTES,
    CODED_FILE: _ONNX_LIMIT_BYTES,
    GOLDEN_FILE: GOLDEN_LIMIT_BYTES,
}


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """The verified bytes of one version.

    Attributes:
        model: its name.
        version: its id.
        onnx: the whole of the ONNX file, decoded where it lies coded; empty where a remote server runs the version.
        external: location, as the graph writes it -> the whole of that file.
        sha256: of `onnx`, in hex; "" where there is none.
        card: None where there is none, and then no hash was held against anything.
        golden: recorded cases, None where there are none.
        facts: what the ONNX file says about itself; None where there is none.
        coded_bytes: of the model.deep that `onnx` was decoded from; None where it lies as it is.
    """

    model: str
    version: str
    onnx: bytes
    external: Mapping[str, bytes]
    sha256: str
    card: Card | None
    golden: Golden | None
    facts: OnnxFacts | None
    coded_bytes: int | None = None

    @property
    def bytes_total(self) -> int:
        """Bytes of the ONNX file and its external files: what a runtime is given."""
        return len(self.onnx) + sum(len(data) for data in self.external.values())

    @property
    def disk_bytes(self) -> int:
        """What of that lies on the disk, where the ONNX file may be coded."""
        return self.bytes_total if self.coded_bytes is None else self.bytes_total - len(self.onnx) + self.coded_bytes

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
    """Reads a version's folder: the ONNX file, or model.deep in its place, and what else there is.

    That is card.json, golden.npz and external files.

    Args:
        folder: the version's folder, open.
        model: its name.
        version: its id.
        onnx_file: the name of the ONNX file; None where another server runs the version, and none is looked for.
        max_bytes: all its files together, held against their sizes before they are read, or decoded.

    Raises:
        BadModel: the card is another version's; a file is missing, extra, of another size or hash than the card says,
            over a limit, not readable in place, or not what its name says; or the ONNX file needs what is not served,
            or is there coded as well.
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
    if (coded := _coded_instead(folder, card, onnx_file)) is not None:
        base, path = "", coded
    onnx = reader.onnx_of(path)
    facts, external = _examine(onnx.data, reader, base)
    golden = _golden(reader, has_golden)
    return VersionFiles(model, version, onnx.data, external, onnx.sha256, card, golden, facts, onnx.coded_bytes)


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

    It is decoded where its name ends in `.deep`.

    Raises:
        BadModel: as `read_version_files`.
    """
    reader = _Reader(folder, max_bytes)
    onnx = reader.onnx_of(name)
    facts, external = _examine(onnx.data, reader)
    return VersionFiles(model, version, onnx.data, external, onnx.sha256, None, None, facts, onnx.coded_bytes)


def _coded_instead(folder: Readable, card: Card | None, onnx_file: str) -> str | None:
    """The name of the coded file where that is what is to be read; None where the ONNX file lies as it is."""
    present = card.files if card is not None else {name for name in (CODED_FILE, onnx_file) if folder.has(name)}
    if CODED_FILE not in present:
        return None
    if onnx_file in present and onnx_file != CODED_FILE:
        raise BadModel(f"{folder.where} holds {quoted(onnx_file)} and {quoted(CODED_FILE)}, which is the same coded.")
    return CODED_FILE


def _examine(onnx: bytes, reader: _Reader, base: str = "") -> tuple[OnnxFacts, dict[str, bytes]]:
    facts = read_onnx_facts(onnx)
    external = {location: reader.bytes_of(base + location) for location in facts.external_files}
    facts.check_external({location: len(data) for location, data in external.items()})
    return facts, external


@dataclass(frozen=True, slots=True)
class _Onnx:
    """An ONNX file and its hash; `coded_bytes` of the file that it was decoded from, if it was."""

    data: bytes
    sha256: str
    coded_bytes: int | None


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
                raise BadModel(f"{self._folder.where}: {quoted(location)} is needed, and card.json does not list it.")
            limit_bytes = min(self._left_bytes, most_bytes)
            size_bytes = None if entry is None else entry.bytes
            data = self._folder.read(location, limit_bytes=limit_bytes, expected_bytes=size_bytes)
            self._left_bytes -= len(data)
            self._sha256[location] = hashlib.sha256(data).hexdigest()
            if entry is not None and self._sha256[location] != entry.sha256:
                raise BadModel(f"{self._folder.where}: {quoted(location)} has another sha256 than card.json says.")
            self._read[location] = data
        return self._read[location]

    def onnx_of(self, location: str) -> _Onnx:
        """An ONNX file, decoded if it lies coded; decoded it is held against the same limits."""
        data = self.bytes_of(location, _ONNX_LIMIT_BYTES)
        if not location.endswith(_CODED_SUFFIX):
            return _Onnx(data, self._sha256[location], None)
        onnx = decode_apart(data, limit_bytes=min(self._left_bytes, _ONNX_LIMIT_BYTES))
        self._left_bytes -= len(onnx)
        return _Onnx(onnx, hashlib.sha256(onnx).hexdigest(), len(data))

    def _refuse(self, verb: str, why: str, names: Collection[str]) -> None:
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise BadModel(f"{self._folder.where} {verb} {quoted(min(names))}{more}, {why}.")
