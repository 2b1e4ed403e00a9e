"""The form of report.json, "retort.compare/1". What is not known is null; a key that is not listed here is an error.

Everything that the page shows is in it, so that a page can be drawn again from the file. Times are milliseconds where
the name says so, moments are seconds since the first block began.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SCHEMA = "retort.compare/1"


def _finite(value: object) -> object:
    """JSON knows neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
Whole = int | None


class Part(BaseModel):
    """A frozen piece of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(Part):
    """A figure with its interval, of 95 % unless said otherwise; without enough rounds for one its ends are null."""

    value: Number
    low: Number = None
    high: Number = None


class TrafficPart(Part):
    """What was sent: `rates` are the stretches of one block, (seconds, requests a second)."""

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


class CardPart(Part):
    """What the server tells of a version; `accuracy` and `agreement` on the card's test set.

    `verdict` is the gate's, and `reasons` are the sentences of those of its rules that decided it.
    """

    variant_of: str | None = None
    recipe: str | None = None
    size_bytes: Whole = None
    accuracy: Number = None
    agreement: Number = None
    task: str | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()


class SummaryPart(Part):
    """One version over all whole rounds.

    `latency_ms` maps "50", "90", "99" and "99.9" to the percentile of the good answers, counted from the planned send
    time; a percentile with fewer than five answers beyond it is left out. `goodput` is answers a second that were
    good and within the objective, `in_time` their share of all requests, `effective_accuracy` the share of all
    requests whose answer was in time and right. Batches and the split between queue and run are the server's own.
    """

    rounds: int
    requests: int
    offered: float
    achieved: Value
    latency_ms: dict[str, Value]
    goodput: Value
    in_time: Value
    effective_accuracy: Value | None
    errors: dict[str, int]
    mean_batch: Number
    queue_ms: Number
    compute_ms: Number
    cpu_ms: Number
    joules: Number
    resident_bytes: Whole
    lag_p99_ms: Number


class TryPart(Part):
    """One rate that the search for the knee tried; a null p99 is endless: more than 1 % had no good answer."""

    rate: float
    met: bool
    p50_ms: Number
    p99_ms: Number
    errors: float
    lag_p99_ms: Number


class KneePart(Part):
    """The highest rate that meets the objective, its interval of 95 %, and every rate that was tried.

    `settled` tells whether the search came to its end, and did not give up while the tries still disagreed.
    """

    limit_ms: float
    rate: Number
    low: Number
    high: Number
    settled: bool
    generator_bound: bool
    tried: tuple[TryPart, ...]


class VersionPart(Part):
    """One version at one server."""

    label: str
    url: str
    version: str
    full: str | None
    card: CardPart
    summary: SummaryPart | None
    knee: KneePart | None


class VersusPart(Part):
    """A version held against its full one: ratios own / full over the same rounds.

    The intervals of `p50` and `p99` hold together in 95 of 100 runs, so each is one of 97.5 %. `p99` is null where too
    few answers lie beyond it. `rate` is the ratio of the knees, and `held` what it shows. `agreement` is the share of
    `agreement_rows` rows on which both named the same class.
    """

    version: str
    full: str
    p50: Value
    p99: Value | None
    rate: Value | None
    agreement: Value | None
    agreement_rows: Whole
    difference: Literal["faster", "slower", "no difference"]
    held: Literal["more", "less", "no difference", "unknown"]
    sentence: str


class RequirementPart(Part):
    """One `--require`; it is met when the unfavourable end of the figure's interval meets it."""

    text: str
    version: str
    met: bool
    seen: str


class BlockPart(Part):
    """One block as it was measured; `counted` tells whether its round was whole. Percentiles as in the summary."""

    version: str
    round: int
    counted: bool
    at_s: float
    lasts_s: float
    requests: int
    good: int
    latency_ms: dict[str, Number]
    max_ms: Number
    lag_p99_ms: Number
    mean_batch: Number
    queue_ms: Number
    compute_ms: Number
    cpu_s: Number
    resident_bytes: Whole


class MarkPart(Part):
    """Something that happened beside the traffic, such as a swap."""

    at_s: float
    text: str


class StallPart(Part):
    """A time in which requests waited and not one was answered."""

    version: str
    at_s: float
    lasts_ms: float
    waiting: int


class StretchPart(Part):
    """One block in steps of `step_s`, by planned send times; a version's name is that of who answered, where known.

    Parallel arrays: `at_s` is each step's begin, `planned` the requests due in it, `answered` the good ones of them,
    then the median and the largest latency of those.
    """

    version: str
    round: int
    step_s: float
    at_s: tuple[float, ...]
    planned: tuple[int, ...]
    answered: tuple[int, ...]
    p50_ms: tuple[Number, ...]
    max_ms: tuple[Number, ...]


class DistributionPart(Part):
    """Latency of a version's good answers: `slower_than` is the share of them that took longer than `latency_ms`."""

    version: str
    slower_than: tuple[float, ...]
    latency_ms: tuple[float, ...]


class Document(Part):
    """A report."""

    schema_id: Literal["retort.compare/1"] = Field(default=SCHEMA, alias="schema")
    model: str
    command: str
    began_at: str
    machine: dict[str, str]
    libraries: dict[str, str]
    valid: bool
    problems: tuple[str, ...]
    interrupted: bool
    notes: tuple[str, ...]
    objective_p99_ms: Number
    traffic: TrafficPart
    versions: tuple[VersionPart, ...]
    versus: tuple[VersusPart, ...]
    requirements: tuple[RequirementPart, ...]
    blocks: tuple[BlockPart, ...]
    marks: tuple[MarkPart, ...]
    stalls: tuple[StallPart, ...]
    timeline: tuple[StretchPart, ...]
    distributions: tuple[DistributionPart, ...]

    @property
    def measured(self) -> tuple[tuple[str, SummaryPart], ...]:
        """(label, summary) of the versions that have one."""
        return tuple((one.label, one.summary) for one in self.versions if one.summary is not None)
