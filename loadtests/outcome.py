"""Everything that one comparison found, as plain values: what a report is written from, and exit codes follow from.

Whoever measures builds an `Outcome`; whoever reports reads it, and needs neither a server nor a generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadtests.disturbances import Mark
from loadtests.measures.observed import Observed
from loadtests.measures.summary import Summary
from loadtests.verdict import Versus


@dataclass(frozen=True, slots=True)
class Card:
    """What a server tells of a version beyond the protocol; all None where it does not.

    Attributes:
        variant_of: the full version's id.
        recipe: how it was made.
        size_bytes: of its file.
        accuracy: on the card's test set; share of rows.
        agreement: with the full version, on the card's test set.
        task: "classification", "regression" or "embedding".
        verdict: of the gate: "pass", "fail" or "insufficient-data".
        reasons: sentences of the gate's rules that decided it.
    """

    variant_of: str | None = None
    recipe: str | None = None
    size_bytes: int | None = None
    accuracy: float | None = None
    agreement: float | None = None
    task: str | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One version at one server.

    Attributes:
        label: how everything else here names it; no two are equal.
        url: of the server.
        version: its id.
        full: the label of the version that it is held against; None for one that is held against none.
        card: what the server tells of it.
    """

    label: str
    url: str
    version: str
    full: str | None = None
    card: Card = Card()


@dataclass(frozen=True, slots=True)
class Try:
    """One rate that the search for a knee tried.

    Attributes:
        rate: requests a second that were planned.
        met: whether the objective was met.
        p50_ms: of all good answers; NaN where there was none.
        p99_ms: of all planned requests, an unanswered one counting as endless; may be infinite.
        errors: share of the requests without a good answer.
        lag_p99_ms: of the generator.
    """

    rate: float
    met: bool
    p50_ms: float
    p99_ms: float
    errors: float
    lag_p99_ms: float


@dataclass(frozen=True, slots=True)
class Knee:
    """What the search for one version's knee found.

    Attributes:
        label: of the version.
        limit_ms: the objective, for the p99.
        rate: the highest rate that meets it; None where none did.
        interval: of 95 %; None without a rate, or where the ceiling was met.
        settled: whether the search came to its end: the interval is narrow, and a rate within was met again.
        tried: every rate, in order.
        generator_bound: whether the search ended because the generator could offer no more, not the server.
    """

    label: str
    limit_ms: float
    rate: float | None
    interval: tuple[float, float] | None
    settled: bool
    tried: tuple[Try, ...]
    generator_bound: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One `--require` and what became of it.

    Attributes:
        text: as it was written.
        label: of the version that it was asked of.
        met: whether the unfavourable end of the figure's interval meets it.
        seen: the figure in words.
    """

    text: str
    label: str
    met: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was sent.

    Attributes:
        scenario: its name.
        summary: what it is, in a sentence.
        arrivals: how arrival times were drawn: "poisson" or "constant".
        rate: mean planned requests a second of one block.
        rates: the block's profile: (seconds, requests a second), one after the other.
        rounds: that were planned.
        encoding: of the requests.
        source: where the rows come from.
        rows: how many different ones.
        seed: of all that was drawn.
    """

    scenario: str
    summary: str
    arrivals: str
    rate: float
    rates: tuple[tuple[float, float], ...]
    rounds: int
    encoding: str
    source: str
    rows: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run of a comparison, whole or interrupted.

    Attributes:
        model: its name.
        entries: the versions, in the order asked for.
        traffic: what was sent.
        limit_ms: the objective for the p99; None where none was given.
        blocks: every block that was measured, in time's order, also those of rounds that were not finished.
        summaries: label -> figures; a version without a whole round has none.
        versus: each version held against its full one.
        sentences: what follows, one for each `versus`, in its order.
        knees: label -> what was found; empty where none was looked for.
        marks: what happened beside the traffic, on the clock of `Sent.began_s`.
        asked: the requirements.
        problems: why the run is invalid, a sentence each; empty for a valid one.
        notes: what a reader should know and harms no validity, a sentence each.
        interrupted: whether Ctrl-C ended it early.
        command: the command line that made it.
        began_at: ISO 8601, UTC.
        machine: "cpu", "cores", "system", ... -> words.
        libraries: name -> version.
    """

    model: str
    entries: tuple[Entry, ...]
    traffic: Traffic
    limit_ms: float | None
    blocks: tuple[Observed, ...]
    summaries: Mapping[str, Summary]
    versus: tuple[Versus, ...]
    sentences: tuple[str, ...]
    knees: Mapping[str, Knee] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    asked: tuple[Asked, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    command: str = ""
    began_at: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether its figures mean what they say."""
        return not self.problems

    @property
    def labels(self) -> Sequence[str]:
        """Of all versions, in order."""
        return tuple(entry.label for entry in self.entries)
