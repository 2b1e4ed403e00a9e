"""One row of the report for each version of a model: the figures of its card that a reader compares.

Pure functions of cards. A figure that a card does not give is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.report.headline import Headline, headline
from service.repository.card import Card
from service.repository.card_measures import Speed

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """A version at one batch size.

    Attributes:
        rows: the batch size.
        p50_ms: median of a run.
        speedup: full time / own time, the median over neighbouring runs; None for a full version.
        interval: 95 % interval of the speedup; None for a full version.
    """

    rows: int
    p50_ms: float
    speedup: float | None
    interval: Interval | None

    @property
    def share(self) -> float:
        """Own time as a share of the full version's; 1 for a full version."""
        return 1 / self.speedup if self.speedup else 1.0

    @property
    def share_interval(self) -> Interval:
        """Its 95 % interval."""
        low, high = self.interval or (1.0, 1.0)
        return 1 / high if high else 1.0, 1 / low if low else 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """A version.

    Attributes:
        card: all that is known of it.
        bytes: what lies on disk: the coded form's size where it is published so.
        headline: the task's main figure; None where nothing was measured.
        paces: by batch size, those of the first provider, class of CPU and number of threads that the card gives.
    """

    card: Card
    bytes: int | None
    headline: Headline | None
    paces: tuple[Pace, ...]

    @property
    def version(self) -> str:
        """Its id."""
        return self.card.version

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the time goes, where the card says it."""
        return self.card.speed_notes

    @property
    def is_full(self) -> bool:
        """Whether it is no variant."""
        return self.card.variant_of is None

    def pace(self, rows: int) -> Pace | None:
        """At this batch size; None where it was not measured."""
        return next((pace for pace in self.paces if pace.rows == rows), None)


def rows_of(cards: Iterable[Card]) -> tuple[Row, ...]:
    """The rows of a model's versions: full versions first, then by id."""
    ordered = sorted(cards, key=lambda card: (card.variant_of is not None, card.version))
    return tuple(Row(card, _bytes(card), headline(card), _paces(card.speed)) for card in ordered)


def batch_sizes(rows: Iterable[Row]) -> tuple[int, ...]:
    """Every batch size that any version was timed at, ascending."""
    return tuple(sorted({pace.rows for row in rows for pace in row.paces}))


def main_figure(rows: Iterable[Row]) -> str:
    """The name of the figure that the model's versions are compared by: the first version's that has one."""
    return next((row.headline.name for row in rows if row.headline), "quality")


def comparable(rows: Iterable[Row]) -> tuple[tuple[Row, Headline], ...]:
    """The versions that have the main figure, with it; a version that was measured otherwise is not among them."""
    known = tuple(rows)
    name = main_figure(known)
    return tuple((row, row.headline) for row in known if row.headline and row.headline.name == name)


def _bytes(card: Card) -> int | None:
    if card.size is None:
        return None
    return card.size.coded_bytes if card.size.coded_bytes is not None else card.size.file_bytes


def _paces(speed: tuple[Speed, ...]) -> tuple[Pace, ...]:
    if not speed:
        return ()
    place = (speed[0].provider, speed[0].cpu_class, speed[0].threads)
    here = (one for one in speed if (one.provider, one.cpu_class, one.threads) == place)
    return tuple(Pace(one.rows, one.own.p50_ms, one.speedup, one.speedup_interval_95) for one in here)
