"""Measures a published version again, from its files and the kept data sets, and holds its card against the result.

Counts, and what follows from them, must be the card's exactly on a class of CPU that the card names; elsewhere a
quantised graph may round differently, and a few rows may fall the other way. Times and resident memory are of one
moment on one machine: only their consistency is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models import describe
from models.cards import CODED
from models.data.samples import Samples
from models.evaluate import gate, measure
from models.evaluate.entries import Asked, entry
from models.evaluate.evidence import Circumstances, collect
from models.evaluate.here import remeasured
from models.evaluate.version import Case, Version, golden_cases, tolerances
from service.repository.card import Card, Split
from service.repository.card_measures import Batching, Quality, Speed
from service.repository.card_tasks import AnyQuality, EmbeddingQuality, RegressionQuality, Task, UnlabelledQuality

__all__ = ["Fresh", "Version", "differences", "remeasure", "remeasured"]

ROWS_ELSEWHERE = 6
ERROR_SHARE_ELSEWHERE = 0.05
RELATIVE_L2_ELSEWHERE = 0.05
# `here` gives twice, to two digits.
MOST_TIMES_OFF = 2.2
NOISY = {"mean_kl": 0.02, "max_abs_dp": 0.02, "sensitivity": 0.5, "max_abs": 0.02}
NOISY |= dict.fromkeys(("rmse", "mae", "r2", "full_rmse", "full_mae", "relative_l2"), 1e-3)
NOISY |= dict.fromkeys(("error_ratio", "error_ratio_lower_95", "error_ratio_upper_95", "0", "1"), 1e-3)
NOISY |= dict.fromkeys(("cosine_mean", "cosine_p01"), 1e-4)
# Keys that cards of an earlier making lack; what a card does not tell cannot be wrong.
YOUNGER = ("full_macro_f1", "macro_f1_lower_95", "macro_f1_upper_95")


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was found now.

    Attributes:
        parts: those of the card that nothing but files and data decide.
        entry: of its quality; a variant's verdict in it is not yet the gate's.
    """

    bench: measure.Bench
    parts: Mapping[str, Any]
    entry: AnyQuality
    same_signature: bool
    batching: Batching
    golden_faults: tuple[str, ...]
    cases: tuple[Case, ...]


def remeasure(
    version: Version,
    splits: Mapping[str, Samples],
    bench: measure.Bench,
    full: Version | None,
    output: str | None = None,
) -> Fresh:
    """Runs the version, and for a variant its full version, on the test set and on its golden cases.

    Args:
        version: what to measure.
        splits: the data sets by the names that the card uses; `test` among them, or else `calibration`.
        bench: this machine.
        full: the full version of a variant.
        output: the one that is judged; None for the first.
    """
    asked = _asked(version.card, splits)
    inputs = asked.samples.inputs
    runner = measure.open_runner(version.onnx, bench)
    output = output or runner.outputs[0].name
    batching = measure.batching(
        runner, inputs, limit=measure.FLOAT_SENSITIVITY if full is None else gate.MOST_SENSITIVITY
    )
    alone = full is not None and batching.mode != "any"
    own = measure.answers(runner, inputs, output, rows=1 if alone else None)
    theirs, same_signature = None, True
    if full is not None:
        parent = measure.open_runner(full.onnx, bench)
        theirs = measure.answers(parent, inputs, output)
        same_signature = (runner.inputs, runner.outputs) == (parent.inputs, parent.outputs)
        parent.close()
    cases = golden_cases(version, runner)
    runner.close()
    return Fresh(
        bench=bench,
        parts=_parts(version, splits, full),
        entry=entry(own, asked, bench, theirs),
        same_signature=same_signature,
        batching=batching,
        golden_faults=tuple(_golden_faults(version.card, cases, bench)),
        cases=tuple(cases),
    )


def differences(card: Card, fresh: Fresh, full: Card | None) -> list[str]:
    """Everything in which the card is not what was found; empty when it tells the truth."""
    told = card.model_dump(mode="json")
    found = [*fresh.golden_faults, *_wrong_tolerance(card, fresh), *_speed_faults(card.speed)]
    for name, part in fresh.parts.items():
        found += _unequal(name, part, told[name])
    here = card.quality_on(fresh.bench.provider, fresh.bench.cpu_class)
    if not card.quality:
        return [*found, "quality: the card gives none"]
    if here is None:
        return found + _far_off(card.quality[0], fresh.entry)
    if len(card.quality) == 1:
        found += _unequal("batching", fresh.batching.model_dump(mode="json"), told["batching"])
    entry = _as_told(fresh.entry, here)
    found += _unequal("quality", entry.model_dump(mode="json"), here.model_dump(mode="json"))
    return found + (_wrong_verdict(card, entry, fresh, full) if full is not None else [])


def _asked(card: Card, splits: Mapping[str, Samples]) -> Asked:
    first = card.quality[0] if card.quality else None
    if isinstance(first, UnlabelledQuality):
        return Asked(first.of, splits["calibration"], is_test=False)
    task: Task = first.task if first is not None else "classification"
    return Asked(task, splits["test"])


def _as_told(found: AnyQuality, here: AnyQuality) -> AnyQuality:
    """What was found with the card's verdict, and without what a card of its age does not tell."""
    changes: dict[str, Any] = {"verdict": here.verdict}
    if isinstance(found, Quality) and isinstance(here, Quality) and found.paired and here.paired:
        unknown = [key for key in YOUNGER if getattr(here.paired, key) is None]
        if len(unknown) == len(YOUNGER):
            changes["paired"] = found.paired.model_copy(update=dict.fromkeys(unknown))
    return found.model_copy(update=changes)


def _parts(version: Version, splits: Mapping[str, Samples], full: Version | None) -> dict[str, Any]:
    onnx, full_onnx = version.onnx, full.onnx if full else None
    coded = version.files.get(CODED)
    return {
        "files": {name: entry.model_dump() for name, entry in describe.file_entries(version.files).items()},
        "parent": {"version": full.card.version, "sha256": describe.sha256(full_onnx or b"")} if full else None,
        "data": {"splits": {name: Split(n=len(s), sha256=s.sha256()).model_dump() for name, s in splits.items()}},
        "graph": describe.graph(onnx, parent=full_onnx).model_dump(mode="json", exclude={"needs"}),
        "size": {
            "file_bytes": len(onnx),
            "parent_file_bytes": len(full_onnx) if full_onnx else None,
            "coded_bytes": None if coded is None else len(coded),
        },
    }


def _wrong_verdict(card: Card, found: AnyQuality, fresh: Fresh, full: Card) -> list[str]:
    if card.size is None or found.paired is None:
        return ["size or quality.paired: a variant's card must give it"]
    full_resident = full.size.resident_bytes if full.size else None
    around = Circumstances(fresh.same_signature, fresh.batching.sensitivity, card.size, full_resident, card.speed)
    evidence = collect(found, around)
    decision = gate.judge(evidence, gate.PROFILES["default"])
    lines = _unequal("verdict", decision.verdict, found.verdict)
    if len(card.quality) > 1:
        return lines
    return [
        *lines,
        *_unequal("gain_kind", gate.gain_kind(evidence), card.gain_kind),
        *_unequal("reasons", list(decision.reasons), list(card.reasons)),
    ]


def _golden_faults(card: Card, cases: list[Case], bench: measure.Bench) -> Iterator[str]:
    tolerance = card.golden_tolerance(bench.provider, bench.cpu_class)
    for one in cases:
        error, limit = (one.relative_l2, RELATIVE_L2_ELSEWHERE) if tolerance is None else (one.error, tolerance)
        if error > limit:
            yield f"golden {one.name}: off by {error:.3g}, more than {limit:g}"
        if (card.golden is None or card.golden.top1) and not one.same_class:
            yield f"golden {one.name}: another class on some row"


def _wrong_tolerance(card: Card, fresh: Fresh) -> list[str]:
    """The tolerance here must be the one that recording gives, or twice what is off here; the first one elsewhere."""
    if card.golden is None or not fresh.cases:
        return []
    own = card.golden_tolerance(fresh.bench.provider, fresh.bench.cpu_class)
    told = card.golden.tolerances[0].max_abs if own is None else own
    worst = max(one.error for one in fresh.cases)
    usual = tolerances(list(fresh.cases))
    if any(math.isclose(told, one, rel_tol=NOISY["max_abs"]) for one in usual):
        return []
    if own is not None and worst <= told <= MOST_TIMES_OFF * worst:
        return []
    return [f"golden.tolerances: {told:g} told, {usual[0]:g} or {usual[1]:g} found, with {worst:.3g} off here"]


def _speed_faults(speed: Sequence[Speed]) -> Iterator[str]:
    for one in speed:
        for whose, timing in (("own", one.own), ("full", one.full)):
            if timing is None:
                continue
            if not timing.p50_ms <= timing.p95_ms <= timing.p99_ms:
                yield f"speed at {one.rows} rows, {whose}: percentiles out of order"
            if not math.isclose(timing.rows_per_s, one.rows * 1e3 / timing.p50_ms, rel_tol=2e-3):
                yield f"speed at {one.rows} rows, {whose}: rows_per_s is not what p50_ms gives"
        if one.speedup is not None and one.speedup_interval_95 is not None:
            low, high = one.speedup_interval_95
            if not low <= one.speedup <= high:
                yield f"speed at {one.rows} rows: speedup outside its interval"


def _far_off(told: AnyQuality, found: AnyQuality) -> list[str]:
    """On a class of CPU that the card does not name: how many rows may differ, or by how much an error may."""
    if isinstance(told, Quality) and isinstance(found, Quality):
        return _far_classes(told, found)
    far = _unequal("quality n", found.n, told.n)
    if isinstance(told, RegressionQuality) and isinstance(found, RegressionQuality):
        same = math.isclose(told.rmse, found.rmse, rel_tol=ERROR_SHARE_ELSEWHERE)
        far += [] if same else [f"quality, rmse: {told.rmse:g} told, {found.rmse:g} found"]
    if isinstance(told, EmbeddingQuality) and isinstance(found, EmbeddingQuality):
        rows = abs((told.label_recall or 0.0) - (found.label_recall or 0.0)) * told.n
        far += [f"quality, label_recall: {rows:g} rows away from what is told"] if rows > ROWS_ELSEWHERE else []
    return far


def _far_classes(told: Quality, found: Quality) -> list[str]:
    rows = {"accuracy": (told.accuracy * told.n, found.accuracy * found.n)}
    for at, support in enumerate(found.support_by_class):
        rows[f"class {at}"] = (told.recall_by_class[at] * support, found.recall_by_class[at] * support)
    if told.paired is not None and found.paired is not None:
        for key in ("b", "c", "flips"):
            rows[key] = (getattr(told.paired, key), getattr(found.paired, key))
    far = [
        f"quality, {key}: {a:g} rows told, {b:g} found" for key, (a, b) in rows.items() if abs(a - b) > ROWS_ELSEWHERE
    ]
    return far + _unequal("quality n", found.n, told.n)


def _unequal(where: str, found: Any, told: Any) -> list[str]:
    """Compares what was found with what the card tells of it; the card may tell more."""
    if isinstance(found, dict):
        if not isinstance(told, dict):
            return [f"{where}: {found!r} found, {told!r} told"]
        return [line for key, value in found.items() for line in _unequal(f"{where}.{key}", value, told.get(key))]
    if isinstance(found, list | tuple) and isinstance(told, list | tuple) and len(found) == len(told):
        pairs = enumerate(zip(found, told, strict=True))
        return [line for at, (one, other) in pairs for line in _unequal(f"{where}.{at}", one, other)]
    share = NOISY.get(where.rpartition(".")[2])
    same = found == told
    if share is not None and isinstance(found, float) and isinstance(told, float):
        same = math.isclose(found, told, rel_tol=share, abs_tol=1e-6)
    return [] if same else [f"{where}: {found!r} found, {told!r} told"]
