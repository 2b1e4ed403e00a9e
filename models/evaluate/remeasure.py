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

import numpy as np

from models import cards, describe
from models.data.samples import Samples, read_arrays
from models.evaluate import gate, golden, measure, quality
from models.evaluate.quality import Logits
from service.repository.card import Card, Split
from service.repository.card_measures import Batching, Paired, Quality, Speed
from service.runtime.runner import Runner

ROWS_ELSEWHERE = 6
RELATIVE_L2_ELSEWHERE = 0.05
NOISY = {"mean_kl": 0.02, "max_abs_dp": 0.02, "sensitivity": 0.5, "max_abs": 0.02}


@dataclass(frozen=True, slots=True)
class Version:
    """A published version: its card, and name -> content of the files that the card lists."""

    card: Card
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was found now; `parts` are those of the card that nothing but files and data decide."""

    bench: measure.Bench
    parts: Mapping[str, Any]
    scores: quality.Scores
    paired: Paired | None
    deterministic: bool
    same_signature: bool
    batching: Batching
    golden_faults: tuple[str, ...]


def remeasure(version: Version, splits: Mapping[str, Samples], bench: measure.Bench, full: Version | None) -> Fresh:
    """Runs the version, and for a variant its full version, on the test set and on its golden cases.

    Args:
        version: what to measure.
        splits: the data sets by the names that the card uses; `test` among them.
        bench: this machine.
        full: the full version of a variant.
    """
    onnx = version.files[cards.ONNX]
    inputs, labels = splits["test"].inputs, splits["test"].labels
    first = {name: array[:1] for name, array in inputs.items()}
    runner = measure.load(onnx, bench, first).runner
    output = runner.outputs[0].name
    own = measure.answers(runner, inputs, output)
    paired, same_signature = None, True
    if full is not None:
        parent = measure.load(full.files[cards.ONNX], bench, first).runner
        paired = quality.compare(measure.answers(parent, inputs, output).logits, own.logits, labels)
        same_signature = (runner.inputs, runner.outputs) == (parent.inputs, parent.outputs)
        parent.close()
    limit = measure.FLOAT_SENSITIVITY if full is None else gate.MOST_SENSITIVITY
    fresh = Fresh(
        bench=bench,
        parts=_parts(version, splits, full, output),
        scores=quality.score(own.logits, labels),
        paired=paired,
        deterministic=own.deterministic,
        same_signature=same_signature,
        batching=measure.batching(runner, inputs, limit=limit),
        golden_faults=tuple(_golden_faults(version, runner, bench)),
    )
    runner.close()
    return fresh


def differences(card: Card, fresh: Fresh, full: Card | None) -> list[str]:
    """Everything in which the card is not what was found; empty when it tells the truth."""
    told = card.model_dump(mode="json")
    found = [*fresh.golden_faults, *_speed_faults(card.speed)]
    for name, part in fresh.parts.items():
        found += _unequal(name, part, told[name])
    here = card.quality_on(fresh.bench.provider, fresh.bench.cpu_class)
    if not card.quality:
        return [*found, "quality: the card gives none"]
    if here is None:
        return found + _far_off(card.quality[0], fresh)
    found += _unequal("batching", fresh.batching.model_dump(mode="json"), told["batching"])
    entry = measure.quality_entry(
        fresh.scores, fresh.bench, deterministic=fresh.deterministic, paired=fresh.paired, verdict=here.verdict
    )
    found += _unequal("quality", entry.model_dump(mode="json"), here.model_dump(mode="json"))
    return found + (_wrong_verdict(card, here, fresh, full) if full is not None else [])


def _parts(version: Version, splits: Mapping[str, Samples], full: Version | None, output: str) -> dict[str, Any]:
    files = version.files
    full_onnx = full.files[cards.ONNX] if full else None
    share = golden.FLOAT_SHARE if full is None else golden.QUANTISED_SHARE
    tolerance = golden.tolerance(read_arrays(files[cards.GOLDEN])[f"output/{output}"], share)
    graph = describe.graph(files[cards.ONNX], parent=full_onnx)
    return {
        "files": {name: entry.model_dump() for name, entry in describe.file_entries(files).items()},
        "parent": {"version": full.card.version, "sha256": describe.sha256(full_onnx or b"")} if full else None,
        "data": {"splits": {name: Split(n=len(s), sha256=s.sha256()).model_dump() for name, s in splits.items()}},
        "graph": graph.model_dump(mode="json", exclude={"needs"}),
        "size": {"file_bytes": len(files[cards.ONNX]), "parent_file_bytes": len(full_onnx) if full_onnx else None},
        "golden": {"tolerances": [{"max_abs": tolerance}]},
    }


def _wrong_verdict(card: Card, here: Quality, fresh: Fresh, full: Card) -> list[str]:
    if card.size is None or fresh.paired is None:
        return ["size or quality.paired: a variant's card must give it"]
    evidence = measure.evidence(
        fresh.scores,
        fresh.paired,
        deterministic=fresh.deterministic,
        same_signature=fresh.same_signature,
        sensitivity=fresh.batching.sensitivity,
        size=card.size,
        full_resident_bytes=full.size.resident_bytes if full.size else None,
        speed=card.speed,
    )
    decision = gate.judge(evidence, gate.PROFILES["default"])
    return [
        *_unequal("verdict", decision.verdict, here.verdict),
        *_unequal("gain_kind", gate.gain_kind(evidence), card.gain_kind),
        *_unequal("reasons", list(decision.reasons), list(card.reasons)),
    ]


def _golden_faults(version: Version, runner: Runner, bench: measure.Bench) -> Iterator[str]:
    arrays = read_arrays(version.files[cards.GOLDEN])
    inputs = {name.removeprefix("input/"): array for name, array in arrays.items() if name.startswith("input/")}
    tolerance = version.card.golden_tolerance(bench.provider, bench.cpu_class)
    for name, answer in runner.run(inputs).items():
        expected: Logits = arrays[f"output/{name}"]
        if tolerance is None:
            error, limit = float(np.linalg.norm(answer - expected) / np.linalg.norm(expected)), RELATIVE_L2_ELSEWHERE
        else:
            error, limit = float(np.abs(answer - expected).max()), tolerance
        if error > limit:
            yield f"golden {name}: off by {error:.3g}, more than {limit:g}"
        if not np.array_equal(answer.argmax(axis=1), expected.argmax(axis=1)):
            yield f"golden {name}: another class on some row"


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


def _far_off(told: Quality, fresh: Fresh) -> list[str]:
    """On a class of CPU that the card does not name: how many rows may differ, and by how much each class."""
    n = fresh.scores.n
    rows = {"accuracy": (told.accuracy * told.n, fresh.scores.accuracy * n)}
    for at, support in enumerate(fresh.scores.support_by_class):
        rows[f"class {at}"] = (told.recall_by_class[at] * support, fresh.scores.recall_by_class[at] * support)
    if told.paired is not None and fresh.paired is not None:
        for key in ("b", "c", "flips"):
            rows[key] = (getattr(told.paired, key), getattr(fresh.paired, key))
    far = [
        f"quality, {key}: {a:g} rows told, {b:g} found" for key, (a, b) in rows.items() if abs(a - b) > ROWS_ELSEWHERE
    ]
    return far + _unequal("quality n", n, told.n)


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
