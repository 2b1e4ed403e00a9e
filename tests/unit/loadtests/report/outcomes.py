"""Outcomes for the report's tests: a queue before one server, reckoned by hand, and everything that follows from it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from loadtests.advice import Case, sentence
from loadtests.disturbances import Mark
from loadtests.generator.block import RIGHT, UNANSWERED, UNCHECKED, Sent
from loadtests.measures.agreement import Agreement
from loadtests.measures.observed import Observed, ServerSide, by_version
from loadtests.measures.resampling import Figure
from loadtests.measures.summary import summarise
from loadtests.outcome import Asked, Card, Entry, Knee, Outcome, Traffic, Try
from loadtests.verdict import versus

BEGAN_S = 5000.0
LASTS_S = 2.0
REST_S = 0.2
CLASSES = 10


def block(
    version: str,
    number: int,
    *,
    service_ms: float,
    rate: float = 300.0,
    at_s: float = 0.0,
    stall_s: tuple[float, float] | None = None,
    unanswered: int = 0,
    lasts_s: float = LASTS_S,
) -> Observed:
    """One block of Poisson arrivals at a server that takes about `service_ms` each, one after the other.

    `stall_s` is (begin, length) of a time in which it takes up nothing; the last `unanswered` have no answer.
    """
    random = np.random.default_rng([number, 7])
    count = int(rate * lasts_s)
    planned_s = np.sort(random.random(count)) * lasts_s
    takes_s = random.gamma(4, service_ms / 4e3, count)
    done_s, free_s = np.empty(count), 0.0
    for at in range(count):
        begin_s = max(free_s, planned_s[at])
        if stall_s is not None and stall_s[0] <= begin_s < sum(stall_s):
            begin_s = sum(stall_s)
        done_s[at] = free_s = begin_s + takes_s[at]
    status = np.full(count, 200, np.int16)
    if unanswered:
        done_s[-unanswered:], status[-unanswered:] = np.nan, UNANSWERED
    rows = random.integers(0, 100, count).astype(np.int32)
    labels = np.arange(100) % CLASSES
    sent = Sent(
        began_s=BEGAN_S + at_s,
        planned_s=planned_s,
        sent_s=planned_s + 0.0002,
        done_s=done_s,
        status=status,
        rows=rows,
        checked=np.where(status == 200, RIGHT, UNCHECKED).astype(np.int8),
        classes=np.where(random.random(count) < 0.98, labels[rows], (labels[rows] + 1) % CLASSES).astype(np.int32),
    )
    side = ServerSide(count, count // 2, count, 0.2 * service_ms, service_ms, service_ms * count / 1e3, None, 90 << 20)
    return Observed(version, number, sent, lasts_s, side, labels)


def blocks(rounds: int = 8, *, full_ms: float = 1.6, variant_ms: float = 0.8) -> list[Observed]:
    """Two versions, "1" and "1-int8", turn by turn."""
    made = []
    for number in range(rounds):
        for place, (version, ms) in enumerate((("1", full_ms), ("1-int8", variant_ms))):
            at_s = (2 * number + place) * (LASTS_S + REST_S)
            made.append(block(version, number, service_ms=ms, at_s=at_s))
    return made


def knee(label: str, rate: float, limit_ms: float = 10.0) -> Knee:
    """A search that closed in on `rate`."""
    tried = [
        Try(rate * share, share <= 1, 1.0 / (1.25 - share), 3.0 / (1.3 - share), 0.0, 0.4)
        for share in (0.4, 0.64, 1.02, 0.8, 0.9, 1.0, 1.05)
    ]
    tried.append(Try(rate * 1.6, False, 900.0, float("inf"), 0.2, 0.4))
    return Knee(label, limit_ms, rate, (rate * 0.98, rate * 1.02), True, tuple(tried))


TRAFFIC = Traffic(
    scenario="steady",
    summary="One rate throughout.",
    arrivals="poisson",
    rate=300.0,
    rates=((LASTS_S, 300.0),),
    rounds=8,
    encoding="binary",
    source="the test set of digits",
    rows=100,
    seed=3,
)
ENTRIES = (
    Entry("1", "http://127.0.0.1:8000", "1", card=Card(size_bytes=755_618, accuracy=0.995, verdict=None)),
    Entry(
        "1-int8",
        "http://127.0.0.1:8000",
        "1-int8",
        full="1",
        card=Card("1", "int8-static", 201_817, 0.9917, 0.9967, "classification", "pass", ("accuracy: 0.9917",)),
    ),
)
KNEES = {"1": knee("1", 900.0), "1-int8": knee("1-int8", 2000.0)}


def outcome(seen: list[Observed] | None = None, *, limit_ms: float | None = 10.0) -> Outcome:
    """What follows from the blocks, with knees, a mark, requirements and all that a command would add."""
    seen = blocks() if seen is None else seen
    whole = by_version(seen)
    summaries = {label: summarise(label, own, limit_ms=limit_ms) for label, own in whole.items()}
    found = versus(whole["1-int8"], whole["1"], agreement=Agreement(598, 600), rate=Figure(2.2, (2.1, 2.3)))
    case = Case(found, summaries["1-int8"], summaries["1"], ENTRIES[1].card, ENTRIES[0].card)
    return Outcome(
        model="digits",
        entries=ENTRIES,
        traffic=TRAFFIC,
        limit_ms=limit_ms,
        blocks=tuple(seen),
        summaries=summaries,
        versus=(found,),
        sentences=(sentence(case),),
        knees=KNEES,
        asked=(Asked("p99 <= 0.8x", "1-int8", True, "0.43 [0.4, 0.47]"), Asked("errors <= 0.1%", "1-int8", False, "x")),
        notes=("The machine has two cores.",),
        command="retort compare digits --versions 1,1-int8 --data /home/somebody/rows.npz --out /tmp/out",
        began_at="2026-01-02T03:04:05Z",
        machine={"cpu": "a processor", "cores": "2"},
        libraries={"numpy": "2.0"},
    )


@cache
def whole() -> Outcome:
    """`outcome()`, reckoned once: intervals cost a second."""
    return outcome()


@cache
def swapped() -> Outcome:
    """Three rounds of traffic that names no version, while the versions are swapped every 0.7 s."""
    seen = [_swapped(block("swapped", n, service_ms=1.2, at_s=n * 5.2, lasts_s=5.0)) for n in range(3)]
    marks = [Mark(BEGAN_S + at * 0.7, f"swap to {('1', '1-int8')[at % 2]}") for at in range(1, int(3 * 5.2 / 0.7))]
    summary = replace(whole().summaries["1"], version="swapped")
    entry = Entry("swapped", ENTRIES[0].url, "")
    return replace(
        whole(), entries=(entry,), blocks=tuple(seen), summaries={"swapped": summary}, versus=(), sentences=(),
        knees={}, marks=tuple(marks),
    )  # fmt: skip


def _swapped(observed: Observed) -> Observed:
    """Answered by "1" and "1-int8" in turn, a swap every 0.7 s; the latter takes half the time."""
    at_s = observed.sent.planned_s + observed.sent.began_s - BEGAN_S
    answered = ((at_s // 0.7) % 2).astype(np.int16)
    latency_s = observed.sent.latency_s * np.where(answered, 0.5, 1.0)
    sent = replace(
        observed.sent, done_s=observed.sent.planned_s + latency_s, answered=answered, versions=("1", "1-int8")
    )
    return replace(observed, sent=sent)
