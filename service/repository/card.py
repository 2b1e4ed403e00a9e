"""The card: what a version is, how it was made and what was measured; one schema for who writes it and who reads it.

`models` writes cards, `service` reads them. A card says nothing about whether its files are there or whole: `store`
holds the files against `Card.files`. Reading is bounded in size and depth and refuses whatever the schema lacks.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from service.core.errors import BadModel
from service.repository.card_measures import Amount, Batching, CardPart, Count, Speed, Verdict
from service.repository.card_tasks import TASKS, AnyQuality

CARD_LIMIT_BYTES = 1 << 20
SCHEMA: Literal["retort.card/1"] = "retort.card/1"

_SEVERITY = ("pass", "insufficient-data", "fail")
_NAME_LIMIT = 255
_QUOTE_LIMIT = 120

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=_NAME_LIMIT)]
Scalar: TypeAlias = str | int | float | bool | None
Argument: TypeAlias = Scalar | tuple[Scalar, ...]


class FileEntry(CardPart):
    """One file of the version's folder."""

    sha256: Sha256
    bytes: Count


class Parent(CardPart):
    """The version that a variant was made from, by the hash of its ONNX file, decoded where it lies coded."""

    version: Name
    sha256: Sha256


class GoldenTolerance(CardPart):
    """How far an output may be from golden.npz, absolute, on one provider and class of CPU."""

    provider: str
    cpu_class: str
    max_abs: Amount


class Golden(CardPart):
    """How golden.npz is to be read; `top1` asks for the same class on every row as well."""

    tolerances: tuple[GoldenTolerance, ...]
    top1: bool


class Step(CardPart):
    """One step of a recipe with every argument, defaults included."""

    technique: Name
    arguments: dict[str, Argument] = Field(default_factory=dict)


class Recipe(CardPart):
    """The ordered steps that made this version, and their seed."""

    name: Name
    seed: int | None = None
    steps: tuple[Step, ...] = ()


class Split(CardPart):
    """A named part of the data: `n` rows whose content has this hash (see `models.data.splits`)."""

    n: Count
    sha256: Sha256


class Data(CardPart):
    """Where the rows came from. Splits share no row; `overlaps_removed` were dropped from the training side."""

    name: Name
    source: str = ""
    splits: dict[str, Split] = Field(default_factory=dict)
    overlaps_removed: Count = 0


class Graph(CardPart):
    """The ONNX graph: opset by domain, operators by type, weights. `needs` names what it cannot be served without."""

    opset: dict[str, int]
    op_counts: dict[str, Count]
    parent_op_counts: dict[str, Count] | None = None
    parameters: Count
    non_zero_parameters: Count
    needs: tuple[str, ...] = ()


class Size(CardPart):
    """Bytes on disk and in memory. `resident_bytes` is what loading and one run add to a process."""

    file_bytes: Count
    parent_file_bytes: Count | None = None
    coded_bytes: Count | None = None
    resident_bytes: Count | None = None


class Producer(CardPart):
    """Who made the card: the workshop's version, its libraries' and the machine."""

    retort: str
    libraries: dict[str, str] = Field(default_factory=dict)
    machine: str = ""


class Card(CardPart):
    """card.json.

    Attributes:
        schema_id: key `schema`; the only one known is `SCHEMA`.
        variant_of: the full version's id; None for a full version. With it come `parent` and `verdict`.
        files: name relative to the version's folder -> hash and size; files outside it are never opened. With
            model.onnx or model.deep, its coded form, unless another server runs the version.
        quality: one entry for each provider and CPU class it was measured on; its keys depend on its `task`.
        speed: one entry for each provider, CPU class, thread count and batch size.
        speed_notes: why it is not faster, and what else was noticed while it was timed; one sentence each.
        verdict: the worst of `quality`'s.
        reasons: one sentence for each rule of the gate that decided.
        not_verified: what the card does not claim.
    """

    schema_id: Literal["retort.card/1"] = Field(default=SCHEMA, alias="schema")
    model: Name
    version: Name
    variant_of: Name | None = None
    parent: Parent | None = None
    files: dict[str, FileEntry]
    licence: str | None = None
    golden: Golden | None = None
    recipe: Recipe | None = None
    data: Data | None = None
    graph: Graph | None = None
    size: Size | None = None
    quality: tuple[AnyQuality, ...] = ()
    batching: Batching | None = None
    speed: tuple[Speed, ...] = ()
    speed_notes: tuple[str, ...] = ()
    gain_kind: Literal["speed", "memory", "storage-only", "none-here"] | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    not_verified: tuple[str, ...] = ()
    produced_by: Producer | None = None

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if not _stays_inside(name):
                raise ValueError(f"no name inside the version's folder: {_short(name)}")
        return files

    @model_validator(mode="after")
    def _variant_is_whole(self) -> Card:
        given = [part is not None for part in (self.variant_of, self.parent, self.verdict)]
        if any(given) and not all(given):
            raise ValueError("variant_of, parent and verdict come together or not at all")
        if self.parent is not None and self.parent.version != self.variant_of:
            raise ValueError("parent.version must be variant_of")
        measured = [_SEVERITY.index(entry.verdict) for entry in self.quality if entry.verdict is not None]
        if measured and self.verdict != _SEVERITY[max(measured)]:
            raise ValueError(f"verdict must be the worst of quality's, {_SEVERITY[max(measured)]!r}")
        if self.verdict == "pass" and not measured:
            raise ValueError("verdict 'pass' needs a quality that was measured and passed")
        return self

    def quality_on(self, provider: str, cpu_class: str) -> AnyQuality | None:
        """What was measured on this provider and CPU class; None if nothing was."""
        return next((q for q in self.quality if (q.provider, q.cpu_class) == (provider, cpu_class)), None)

    def golden_tolerance(self, provider: str, cpu_class: str) -> float | None:
        """The absolute golden tolerance on this provider and CPU class; None if it is unknown there."""
        entries = self.golden.tolerances if self.golden else ()
        return next((t.max_abs for t in entries if (t.provider, t.cpu_class) == (provider, cpu_class)), None)

    def to_json(self) -> bytes:
        """The card as indented UTF-8 JSON with every key; `read_card` gives an equal card."""
        return self.model_dump_json(by_alias=True, indent=2).encode() + b"\n"


def read_card(data: bytes) -> Card:
    """Reads card.json.

    Args:
        data: the whole file, UTF-8.

    Raises:
        BadModel: larger than `CARD_LIMIT_BYTES`, not JSON, or not this schema; says the first thing that is wrong.
    """
    if len(data) > CARD_LIMIT_BYTES:
        raise BadModel(f"card.json has {len(data)} bytes, more than the limit of {CARD_LIMIT_BYTES}.")
    try:
        return Card.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = _path(first["loc"])
    what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    raise BadModel(f"card.json is not a card{f', at {_short(where)}' if where else ''}: {_short(what)}.")


def _path(loc: tuple[int | str, ...]) -> str:
    """Where in the document: without the task's name, which pydantic puts between an entry of quality and its key."""
    tagged = loc[:1] == ("quality",) and loc[2:3] != () and loc[2] in TASKS
    return ".".join(str(part) for part in (loc[:2] + loc[3:] if tagged else loc))


def _stays_inside(name: str) -> bool:
    if len(name) > _NAME_LIMIT or "\\" in name or not name.isprintable():
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _short(text: str) -> str:
    printable = text if text.isprintable() else ascii(text)
    return printable if len(printable) <= _QUOTE_LIMIT else printable[: _QUOTE_LIMIT - 1] + "…"
