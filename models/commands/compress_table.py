"""What `retort compress` says at its end: a table with one row a variant, why the gate decided so, or JSON.

Figures come from the cards alone, so that the table says what is published.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from models.assemble import Published
from models.compressing import Outcome
from models.order import Job
from models.remeasuring import Again
from service.repository.card import Card

WIDTH = 240
NOTHING = "-"
_COLUMNS = ("version", "bytes", "ratio", "quality", "difference (95 %)", "agrees")
_UNIT = 1024


def sentence(outcome: Outcome) -> str:
    """One line when a variant is done."""
    version = outcome.wanted.version
    if outcome.published is None:
        return f"{version}: not made. {outcome.refusal}"
    return f"{version}: published, verdict {outcome.published.card.verdict}"


def as_text(full: Published, outcomes: Sequence[Outcome]) -> str:
    """The table, and below it what decided each verdict and what the ladder tried."""
    rows = [one.wanted.version if one.published is None else one.published.card for one in outcomes]
    return "\n".join([_table(rows, full.card), *(line for outcome in outcomes for line in _why(outcome))])


def as_json(job: Job, full: Published, outcomes: Sequence[Outcome]) -> str:
    """The same for machines: what was asked for, and each card's figures under the card's own keys."""
    return json.dumps(
        {
            "model": job.setup.folder.name,
            "full": _figures(full.card),
            "variants": [
                {
                    "version": outcome.wanted.version,
                    "recipe": outcome.wanted.plan.name,
                    "refusal": outcome.refusal or None,
                    "tried": list(outcome.tried),
                    **({} if outcome.published is None else _figures(outcome.published.card)),
                    "notes": [] if outcome.published is None else list(outcome.published.notes),
                }
                for outcome in outcomes
            ],
        },
        indent=2,
    )


def remeasured_text(done: Sequence[Again]) -> str:
    """The table of cards after this machine was added, and what changed of each verdict."""
    full = next((one.after for one in done if one.after.variant_of is None), None)
    table = _table([one.after for one in done], full)
    changes = [
        f"{one.after.version}: verdict {one.after.verdict}, was {one.before.verdict}"
        for one in done
        if one.after.verdict != one.before.verdict
    ]
    return "\n".join([table, *changes])


def remeasured_json(done: Sequence[Again]) -> str:
    """The same for machines."""
    return json.dumps([{**_figures(one.after), "verdict_before": one.before.verdict} for one in done], indent=2)


def _figures(card: Card) -> dict[str, Any]:
    keys = {"version", "verdict", "reasons", "gain_kind", "size", "quality", "batching", "speed"}
    return card.model_dump(mode="json", include=keys)


def _table(rows: Sequence[Card | str], full: Card | None) -> str:
    """The cards' rows, below their full version's; a name stands for what was not made."""
    cards = [one for one in rows if isinstance(one, Card) and one.variant_of is not None]
    batches = sorted({speed.rows for card in cards for speed in card.speed})
    table = Table(box=None, pad_edge=False)
    for column in (*_COLUMNS, *(f"speed-up at {rows}" for rows in batches), "verdict"):
        table.add_column(column, no_wrap=True)
    if full is not None:
        table.add_row(*_full_row(full), *(NOTHING for _ in batches), "full version")
    for one in rows:
        if isinstance(one, str):
            table.add_row(one, *(NOTHING for _ in (*_COLUMNS[1:], *batches)), "not made")
        elif one.variant_of is not None:
            table.add_row(*_row(one, batches))
    out = io.StringIO()
    Console(file=out, width=WIDTH, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _full_row(card: Card) -> tuple[str, ...]:
    size = card.size.file_bytes if card.size else 0
    return card.version, _bytes(size), "1", _quality(card), NOTHING, NOTHING


def _row(card: Card, batches: Sequence[int]) -> tuple[str, ...]:
    size = card.size
    stored = 0 if size is None else size.file_bytes if size.coded_bytes is None else size.coded_bytes
    ratio = f"{size.parent_file_bytes / stored:.2f}x smaller" if size and size.parent_file_bytes and stored else NOTHING
    speeds = [_speedup(card, rows) for rows in batches]
    return (
        *(card.version, _bytes(stored), ratio, _quality(card), _difference(card), _agreement(card)),
        *speeds,
        card.verdict or NOTHING,
    )


def _bytes(n: int) -> str:
    if n < _UNIT:
        return f"{n} B"
    size, unit = n / _UNIT, "KiB"
    if size >= _UNIT:
        size, unit = size / _UNIT, "MiB"
    return f"{size:.1f} {unit}"


def _quality(card: Card) -> str:
    """The figure that its task is known by."""
    quality: Any = card.quality[-1] if card.quality else None
    for key, word in (("accuracy", "accuracy"), ("rmse", "rmse"), ("label_recall", "recall")):
        value = getattr(quality, key, None)
        if value is not None:
            return f"{word} {value:.4g}"
    return NOTHING


def _difference(card: Card) -> str:
    """What the variant is worse or better by, with its interval where there is one."""
    paired: Any = card.quality[-1].paired if card.quality else None
    if hasattr(paired, "delta"):
        low, high = paired.delta_interval_95
        return f"{paired.delta:+.4f} [{low:+.4f}, {high:+.4f}]".replace("[", "(").replace("]", ")")
    if hasattr(paired, "error_ratio"):
        low, high = paired.error_ratio_interval_95
        return f"error x{paired.error_ratio:.4f} ({low:.4f}, {high:.4f})"
    return f"1st percentile of cosine {paired.cosine_p01:.4f}" if hasattr(paired, "cosine_p01") else NOTHING


def _agreement(card: Card) -> str:
    agreement = card.quality[-1].agreement if card.quality else None
    return NOTHING if agreement is None else f"{agreement:.2%}"


def _speedup(card: Card, rows: int) -> str:
    found = next((speed for speed in card.speed if speed.rows == rows and speed.speedup is not None), None)
    if found is None or found.speedup_interval_95 is None:
        return NOTHING
    low, high = found.speedup_interval_95
    return f"{found.speedup:.2f}x ({low:.2f}, {high:.2f})"


def _why(outcome: Outcome) -> list[str]:
    version, published = outcome.wanted.version, outcome.published
    lines = [f"{version}, ladder: {line}" for line in outcome.tried]
    if published is None:
        return [*lines, f"{version}: {outcome.refusal}"]
    if published.card.verdict != "pass":
        lines += [f"{version}: {reason}" for reason in published.card.reasons]
    return lines + [f"{version}: {note}" for note in published.notes]
