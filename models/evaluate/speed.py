"""The card's `speed`: how long runs of several batch sizes take, a variant's interleaved with its full version's.

The whole race of a version keeps to a budget of seconds: a slow model is run less often, and the card says how often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.evaluate import latency
from models.evaluate.gate import LEAST_SPEEDUP
from models.evaluate.measure import Bench, Subject, first_rows, rows_a_run
from service.core.contract import Arrays
from service.repository.card_measures import Speed

BATCHES = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is run: at most `runs` timed runs of each at a batch size, and about `budget_s` seconds in all."""

    runs: int
    budget_s: float = 60.0


def speed(
    subject: Subject, inputs: Arrays, bench: Bench, *, effort: Effort, full: Subject | None = None
) -> list[Speed]:
    """One entry for each batch size that the version takes; interleaved with the full version's if there is one."""
    runner = subject.runner
    fixed = rows_a_run(runner, inputs, runner.outputs[0].name)
    sizes = BATCHES if fixed is None else (fixed,)
    share = Effort(effort.runs, effort.budget_s / len(sizes))
    return [_speed_at(rows, subject, first_rows(inputs, rows), bench, share, full, len(sizes)) for rows in sizes]


def not_faster(entries: Sequence[Speed]) -> Speed | None:
    """The entry at which a variant does worst against its full version, unless it is faster everywhere."""
    slow = [one for one in entries if one.speedup is not None and not _is_faster(one)]
    return min(slow, key=lambda one: one.speedup or 0.0, default=None)


def _is_faster(one: Speed) -> bool:
    interval = one.speedup_joint_interval_95 or one.speedup_interval_95
    return interval is not None and interval[0] > LEAST_SPEEDUP


def _speed_at(
    rows: int, subject: Subject, feed: Arrays, bench: Bench, effort: Effort, full: Subject | None, looks: int
) -> Speed:
    entry = {
        "provider": bench.provider,
        "cpu_class": bench.cpu_class,
        "threads": bench.threads,
        "rows": rows,
        "load_ms": subject.load_ms,
        "first_run_ms": subject.first_run_ms,
    }
    if full is None:
        seconds = latency.run_times(subject.runner, feed, runs=effort.runs, budget_s=effort.budget_s)
        return Speed.model_validate({**entry, "runs": len(seconds), "own": latency.timing(seconds, rows)})
    raced = latency.race(subject.runner, full.runner, feed, runs=effort.runs, budget_s=effort.budget_s, looks=looks)
    return Speed.model_validate(
        {
            **entry,
            "runs": raced.runs,
            "own": raced.variant,
            "full": raced.full,
            "speedup": raced.speedup,
            "speedup_interval_95": raced.speedup_interval_95,
            "speedup_joint_interval_95": raced.speedup_joint_interval_95,
        }
    )
