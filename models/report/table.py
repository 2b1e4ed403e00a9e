"""The report as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from models.report import words
from models.report.rows import Row, batch_sizes

_COLOURS = {"pass": "green", "fail": "red", "insufficient-data": "yellow"}


def table(model: str, rows: Sequence[Row]) -> Table:
    """One line a version; speed-ups are against the full version, with 95 % intervals."""
    sizes = batch_sizes(rows)
    made = Table(title=model, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.add_column("version", no_wrap=True)
    name = next((row.headline.name for row in rows if row.headline), "quality")
    for heading in ("size", "of full", name, "difference", "agreement"):
        made.add_column(heading, justify="right", no_wrap=True)
    for count in sizes:
        made.add_column(f"speed-up, {count} row{'s' if count != 1 else ''}", justify="right", no_wrap=True)
    for heading in ("batching", "gain", "verdict"):
        made.add_column(heading, no_wrap=True)
    for row in rows:
        made.add_row(*cells(row, sizes), style=None if row.is_full else _COLOURS.get(row.card.verdict or ""))
    return made


def cells(row: Row, sizes: Sequence[int]) -> tuple[str, ...]:
    """The cells of one version, in the order of the columns."""
    card, best = row.card, row.headline
    parent = card.size.parent_file_bytes if card.size else None
    return (
        row.version,
        words.size(row.bytes),
        words.ratio(row.bytes / parent if row.bytes is not None and parent else None),
        words.share(best.value) if best and best.higher_is_better else f"{best.value:.4g}" if best else words.NOTHING,
        _difference(row),
        words.share(best.agreement if best else None),
        *(words.speedup(row.pace(count)) for count in sizes),
        _batching(row),
        card.gain_kind or words.NOTHING,
        card.verdict or words.NOTHING,
    )


def _difference(row: Row) -> str:
    paired = row.card.quality[0].paired if row.card.quality else None
    if paired is None:
        return words.NOTHING
    low, high = paired.delta_interval_95
    return f"{words.points(paired.delta)} [{words.points(low)}, {words.points(high)}]"


def _batching(row: Row) -> str:
    return row.card.batching.mode if row.card.batching else words.NOTHING
