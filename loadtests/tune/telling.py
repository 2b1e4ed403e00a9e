"""What a search found, in words: a table, a sentence and a document. Pure functions."""

from __future__ import annotations

from typing import Any

from loadtests.measures.resampling import Figure
from loadtests.tune.found import Found
from loadtests.tune.order import Order
from loadtests.tune.pruning import Weighed
from loadtests.tune.settings import PRESENT, Settings
from loadtests.verdict import MOST_LAG_MS

SCHEMA = "retort.tune/1"
_WHAT = {
    "throughput": "the rate that is carried in time",
    "goodput": "the answers in time a second",
    "latency": "the speed at p99",
}


def table(found: Found) -> str:
    """Every setting that was tried, best first, against the present one; then what a change back of one key cost."""
    lines = [f"{'settings':<72}{'score':>8}{'rounds':>8}", f"{_present(found.present):<72}{'1.00x':>8}{'':>8}"]
    for one, (ratio, rounds) in sorted(found.tried.items(), key=lambda item: -item[1][0]):
        lines.append(f"{one!s:<72}{f'{ratio:.2f}x':>8}{rounds:>8}")
    lines += [f"{one!s:<72}  {why}" for one, why in found.failed.items()]
    lines += [_put_back(one) for one in found.weighed]
    return "\n".join(lines)


def verdict(found: Found) -> str:
    """One sentence: what to change, by how much it is better, or why nothing is changed."""
    if not found.valid:
        late = f"the generator came {found.lag_p99_ms:.1f} ms late at p99, and at most {MOST_LAG_MS:g} ms are allowed"
        return f"this run is invalid and proves nothing: {late}"
    if found.ratio is None or found.objective is None:
        seen = f"nothing better was seen among {len(found.tried)} others" if found.tried else "no other was tried"
        why = seen if found.complete else "the search did not come to its end"
        why += f", and there was no time for {found.left_out}" if found.left_out else ""
        return f"keep the present configuration: {why}"
    what, times = _WHAT[found.objective.name], _times(found.ratio)
    told = f"{found.best}: {what} is {times} the present one's, over {found.rounds} rounds"
    return told if found.better else f"keep the present configuration: no better one was shown ({told})"


def as_document(found: Found, order: Order) -> dict[str, Any]:
    """For tune.json."""
    return {
        "schema": SCHEMA,
        "model": order.model,
        "version": order.version,
        "objective": order.objective,
        "slo_p99_ms": order.limit_ms,
        "rate": order.rate,
        "budget_s": order.budget_s,
        "cores": list(order.server_cores),
        "complete": found.complete,
        "valid": found.valid,
        "generator_lag_p99_ms": found.lag_p99_ms,
        "present": found.present.changes(),
        "best": found.best.changes(),
        "better": found.better,
        "ratio": None if found.ratio is None else found.ratio.value,
        "interval": None if found.ratio is None or found.ratio.interval is None else list(found.ratio.interval),
        "rounds": found.rounds,
        "left_out": found.left_out,
        "tried": [
            {"settings": one.changes(), "ratio": ratio, "rounds": rounds}
            for one, (ratio, rounds) in found.tried.items()
        ],
        "weighed": [
            {
                "put_back": one.key,
                "beside": one.beside.changes(),
                "ratio": one.ratio.value,
                "interval": one.ratio.interval and list(one.ratio.interval),
                "matters": one.matters,
            }
            for one in found.weighed
        ],
        "failed": [{"settings": one.changes(), "reason": why} for one, why in found.failed.items()],
    }


def _put_back(one: Weighed) -> str:
    return f"{one.key} put back beside {one.beside}: {_times(one.ratio)}, {'it matters' if one.matters else 'no loss'}"


def _present(present: Settings) -> str:
    return f"present: {present}" if present != PRESENT else "present"


def _times(figure: Figure) -> str:
    if figure.interval is None:
        return f"{figure.value:.2f}x"
    return f"{figure.value:.2f}x [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
