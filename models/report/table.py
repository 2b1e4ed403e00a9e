"""The report as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from models.report import words
from models.report.headline import Headline
from models.report.rows import Row, batch_sizes, main_figure
from service.repository.card_measures import Quality
from service.repository.card_tasks import EmbeddingQuality, RegressionQuality, UnlabelledQuality

_COLOURS = {"pass": "green", "fail": "red", "insufficient-data": "yellow"}


def table(model: str, rows: Sequence[Row]) -> Table:
    """One line a version; speed-ups are against the full version, with 95 % intervals."""
    sizes = batch_sizes(rows)
    made = Table(title=model, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.add_column("version", no_wrap=True)
    name = main_figure(rows)
    for heading in ("size", "of full", name, "difference", "agreement"):
        made.add_column(heading, justify="right", no_wrap=True)
    for count in sizes:
        made.add_column(f"speed-up, {count} row{'s' if count != 1 else ''}", justify="right", no_wrap=True)
    for heading in ("batching", "gain", "verdict"):
        made.add_column(heading, no_wrap=True)
    for row in rows:
        made.add_row(*cells(row, sizes, name), style=None if row.is_full else _COLOURS.get(row.card.verdict or ""))
    return made


def cells(row: Row, sizes: Sequence[int], name: str = "") -> tuple[str, ...]:
    """The cells of one version, in the order of the columns.

    Args:
        row: the version.
        sizes: the batch sizes that have a column.
        name: of the column of quality: another figure than that is named in its cell.
    """
    card, best = row.card, row.headline
    parent = card.size.parent_file_bytes if card.size else None
    return (
        row.version,
        words.size(row.bytes),
        words.ratio(row.bytes / parent if row.bytes is not None and parent else None),
        _figure(best, name or (best.name if best else "")),
        _difference(row),
        words.share(best.agreement if best else None),
        *(words.speedup(row.pace(count)) for count in sizes),
        _batching(row),
        card.gain_kind or words.NOTHING,
        card.verdict or words.NOTHING,
    )


def _figure(best: Headline | None, name: str) -> str:
    if best is None:
        return words.NOTHING
    value = words.share(best.value) if best.higher_is_better else f"{best.value:.4g}"
    return value if best.name == name else f"{value} {best.name}"


def _difference(row: Row) -> str:
    """Of a variant to its full version, in the task's own terms; `>=` stands before a one-sided 95 % lower bound."""
    here = row.card.quality[0] if row.card.quality else None
    match here:
        case Quality() if here.paired is not None:
            low, high = here.paired.delta_interval_95
            return f"{words.points(here.paired.delta)} [{words.points(low)}, {words.points(high)}]"
        case RegressionQuality() if here.paired is not None:
            low, high = here.paired.error_ratio_interval_95
            return f"{here.paired.error_ratio:.3f}x [{low:.3f}, {high:.3f}]"
        case EmbeddingQuality() if here.paired is not None:
            delta, bound = here.paired.label_recall_delta, here.paired.label_recall_lower_95
            if delta is not None and bound is not None:
                return f"{words.points(delta)} (>= {words.points(bound)})"
            return f"cosine {here.paired.cosine_p01:.4f}"
        case UnlabelledQuality() if here.paired is not None:
            return f"relative L2 {here.paired.relative_l2:.3g}"
    return words.NOTHING


def _batching(row: Row) -> str:
    return row.card.batching.mode if row.card.batching else words.NOTHING
