"""Turns an outcome into the document that every file of the report is made from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from loadtests.measures.observed import Observed
from loadtests.measures.resampling import Figure
from loadtests.measures.summary import PERCENTS, Summary, lag_p99_ms
from loadtests.outcome import Entry, Knee, Outcome
from loadtests.report.distribution import distribution
from loadtests.report.schema import (
    BlockPart,
    CardPart,
    Document,
    KneePart,
    MarkPart,
    RequirementPart,
    SummaryPart,
    TrafficPart,
    TryPart,
    Value,
    VersionPart,
    VersusPart,
)
from loadtests.report.timeline import stalls, stretches
from loadtests.verdict import Versus

_PLAIN = ("rounds", "requests", "offered", "mean_batch", "queue_ms", "compute_ms", "cpu_ms", "joules")
_PATH = re.compile(r"(?<![\w:/.-])(?:~|\.{1,2})?(?:/[^\s/'\"]+)*/([^\s/'\"]+)")


def document(outcome: Outcome) -> Document:
    """The whole report as plain values; figures are as they were measured, and nothing is judged anew."""
    origin_s = min((block.sent.began_s for block in outcome.blocks), default=0.0)
    counted = _whole_rounds(outcome)
    kept = {
        label: [b for b in outcome.blocks if b.version == label and b.round in counted] for label in _labels(outcome)
    }
    spread = (distribution(label, blocks) for label, blocks in kept.items())
    return Document(
        model=outcome.model,
        command=without_paths(outcome.command),
        began_at=outcome.began_at,
        machine=dict(outcome.machine),
        libraries=dict(outcome.libraries),
        valid=outcome.valid,
        problems=outcome.problems,
        interrupted=outcome.interrupted,
        notes=outcome.notes,
        objective_p99_ms=outcome.limit_ms,
        traffic=TrafficPart.model_validate(asdict(outcome.traffic)),
        versions=tuple(_version(entry, outcome) for entry in outcome.entries),
        versus=tuple(map(_versus, outcome.versus, outcome.sentences)),
        requirements=tuple(
            RequirementPart(text=o.text, version=o.label, met=o.met, seen=o.seen) for o in outcome.asked
        ),
        blocks=tuple(_block(block, origin_s, block.round in counted) for block in outcome.blocks),
        marks=tuple(MarkPart(at_s=round(mark.at_s - origin_s, 4), text=mark.text) for mark in outcome.marks),
        stalls=tuple(stalls(outcome.blocks, origin_s)),
        timeline=tuple(part for block in outcome.blocks for part in stretches(block, origin_s)),
        distributions=tuple(one for one in spread if one is not None),
    )


def without_paths(command: str) -> str:
    """The command line with every path cut to its last part: a report tells nothing of where a machine keeps things."""
    return _PATH.sub(r"\1", command)


def _labels(outcome: Outcome) -> list[str]:
    """Of the entries, then of blocks that belong to none of them, such as those that name no version."""
    return list(dict.fromkeys([*outcome.labels, *(block.version for block in outcome.blocks)]))


def _whole_rounds(outcome: Outcome) -> set[int]:
    """Numbers of the rounds in which every version that was measured has a block."""
    seen: dict[int, set[str]] = {}
    for block in outcome.blocks:
        seen.setdefault(block.round, set()).add(block.version)
    every = {block.version for block in outcome.blocks}
    return {number for number, labels in seen.items() if labels == every}


def _version(entry: Entry, outcome: Outcome) -> VersionPart:
    summary, knee = outcome.summaries.get(entry.label), outcome.knees.get(entry.label)
    return VersionPart(
        label=entry.label,
        url=entry.url,
        version=entry.version,
        full=entry.full,
        card=CardPart.model_validate(asdict(entry.card)),
        summary=None if summary is None else _summary(summary),
        knee=None if knee is None else _knee(knee),
    )


def _summary(summary: Summary) -> SummaryPart:
    accuracy = summary.effective_accuracy
    return SummaryPart(
        **{name: getattr(summary, name) for name in _PLAIN},
        achieved=_value(summary.achieved),
        latency_ms={f"{percent:g}": _value(one) for percent, one in summary.latency_ms.items()},
        goodput=_value(summary.goodput),
        in_time=_value(summary.in_time),
        effective_accuracy=None if accuracy is None else _value(accuracy),
        errors=dict(summary.errors),
        resident_bytes=summary.resident_bytes,
        lag_p99_ms=summary.lag_p99_ms,
    )


def _knee(knee: Knee) -> KneePart:
    low, high = knee.interval or (None, None)
    return KneePart(
        limit_ms=knee.limit_ms,
        rate=knee.rate,
        low=low,
        high=high,
        settled=knee.settled,
        generator_bound=knee.generator_bound,
        tried=tuple(TryPart.model_validate(asdict(one)) for one in knee.tried),
    )


def _versus(one: Versus, sentence: str) -> VersusPart:
    agreement = one.agreement
    return VersusPart(
        version=one.version,
        full=one.full,
        p50=_value(one.p50),
        p99=None if one.p99 is None else _value(one.p99),
        rate=None if one.rate is None else _value(one.rate),
        agreement=None if agreement is None else _value(Figure(agreement.share, agreement.interval)),
        agreement_rows=None if agreement is None else agreement.rows,
        difference=one.difference,
        held=one.held,
        sentence=sentence,
    )


def _block(block: Observed, origin_s: float, counted: bool) -> BlockPart:
    side, latency_ms = block.server, block.latency_ms
    return BlockPart(
        version=block.version,
        round=block.round,
        counted=counted,
        at_s=round(block.sent.began_s - origin_s, 4),
        lasts_s=block.lasts_s,
        requests=len(block.good),
        good=int(block.good.sum()),
        latency_ms=_percentiles(latency_ms),
        max_ms=round(float(latency_ms.max()), 3) if len(latency_ms) else None,
        lag_p99_ms=round(lag_p99_ms([block]), 4),
        mean_batch=side.rows / side.executions if side.rows is not None and side.executions else None,
        queue_ms=side.queue_ms,
        compute_ms=side.compute_ms,
        cpu_s=side.cpu_s,
        resident_bytes=side.resident_bytes,
    )


def _percentiles(latency_ms: np.ndarray) -> Mapping[str, float]:
    """Raw, of one block, however few answers there are; empty without any."""
    if not len(latency_ms):
        return {}
    return {f"{percent:g}": round(float(np.percentile(latency_ms, percent)), 4) for percent in PERCENTS}


def _value(figure: Figure) -> Value:
    low, high = figure.interval or (None, None)
    return Value(value=figure.value, low=low, high=high)
