"""The main figures of cards side by side: as a table for reading, and as JSON or markdown for keeping."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models import describe
from models.families.making import Outcome
from service.repository.card import Card

COLUMNS = ("version", "verdict", "accuracy", "agreement", "bytes", "smaller", "speedup, 1 row", "gain")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a card says in a few numbers; None where it says nothing.

    Attributes:
        published_bytes: of the model's file as published, coded where it is.
        times_smaller: the full version's file over that.
        speedup: full time / variant time at one row, with its 95 % interval.
    """

    version: str
    verdict: str | None
    accuracy: float | None
    full_accuracy: float | None
    agreement: float | None
    bad_flips: int | None
    test_rows: int | None
    published_bytes: int | None
    times_smaller: float | None
    speedup: float | None
    speedup_interval_95: tuple[float, float] | None
    gain_kind: str | None


def figures(card: Card) -> Figures:
    """The main figures of a card, on the machine that was measured last."""
    quality = card.quality[-1] if card.quality else None
    paired = quality.paired if quality else None
    speed = next((one for one in card.speed if one.rows == 1), None)
    published = _published_bytes(card)
    before = card.size.parent_file_bytes if card.size else None
    return Figures(
        version=card.version,
        verdict=card.verdict,
        accuracy=quality.accuracy if quality else None,
        full_accuracy=paired.full_accuracy if paired else None,
        agreement=paired.agreement if paired else None,
        bad_flips=paired.b if paired else None,
        test_rows=quality.n if quality else None,
        published_bytes=published,
        times_smaller=round(before / published, 2) if before and published else None,
        speedup=speed.speedup if speed else None,
        speedup_interval_95=speed.speedup_interval_95 if speed else None,
        gain_kind=card.gain_kind,
    )


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The cells under `COLUMNS`, a row for each version that there is or could not be made."""
    return [_row(figures(one.card)) if one.card else (one.version, "not made", *[""] * 6) for one in outcomes]


def to_json(model: str, outcomes: Sequence[Outcome], command: str) -> str:
    """Every figure, with the machine, the libraries and the command that made them."""
    cards = [one.card for one in outcomes if one.card]
    producer = cards[-1].produced_by if cards and cards[-1].produced_by else describe.producer()
    document: dict[str, Any] = {
        "model": model,
        "command": command,
        "machine": producer.machine,
        "libraries": dict(producer.libraries),
        "versions": [_document(card) for card in cards],
        "not_made": {one.version: list(one.notes) for one in outcomes if not one.card},
    }
    return json.dumps(document, indent=2) + "\n"


def to_markdown(model: str, outcomes: Sequence[Outcome], command: str) -> str:
    """The table, under the command that made it and the machine."""
    table = [COLUMNS, tuple("-" for _ in COLUMNS), *rows(outcomes)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    machine = describe.producer().machine
    return "\n".join([f"# {model}", "", f"`{command}`", "", f"Measured on {machine}.", "", *lines, ""])


def _document(card: Card) -> dict[str, Any]:
    return asdict(figures(card)) | {
        "cpu_class": card.quality[-1].cpu_class if card.quality else None,
        "parameters": card.graph.parameters if card.graph else None,
        "non_zero_parameters": card.graph.non_zero_parameters if card.graph else None,
        "reasons": list(card.reasons),
        "recipe": card.recipe.model_dump(mode="json") if card.recipe else None,
    }


def _row(one: Figures) -> tuple[str, ...]:
    return (
        one.version,
        one.verdict or "full",
        _percent(one.accuracy),
        _percent(one.agreement),
        f"{one.published_bytes:,}" if one.published_bytes else "-",
        f"{one.times_smaller:.1f}x" if one.times_smaller else "-",
        _speed(one),
        one.gain_kind or "-",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def _speed(one: Figures) -> str:
    if one.speedup is None or one.speedup_interval_95 is None:
        return "-"
    low, high = one.speedup_interval_95
    return f"{one.speedup:.2f}x ({low:.2f} to {high:.2f})"


def _published_bytes(card: Card) -> int | None:
    return (card.size.coded_bytes or card.size.file_bytes) if card.size else None
