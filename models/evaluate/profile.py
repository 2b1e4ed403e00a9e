"""Why a variant is not faster: where ONNX Runtime spends the time of a run, by operator, and sentences about it.

The figures come from ONNX Runtime's own profiler, after its optimiser: what it fused is counted as fused. Profiling
costs time of its own, a few microseconds a node, so that shares are to be read and not sums.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from models.evaluate.measure import Bench, first_rows
from service.core.contract import Arrays
from service.runtime.providers import ORT_NAMES

RUNS = 30
# An operator that takes less of the time explains nothing.
TELLING_SHARE = 0.1
TELLING_RATIO = 1.2

_SCALING = "DynamicQuantizeLinear"
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
# What an integer or weight-only operator stands in for, as ONNX Runtime names both.
_STANDS_FOR: Mapping[str, tuple[str, ...]] = {
    "ConvInteger": ("Conv", "FusedConv"),
    "QLinearConv": ("Conv", "FusedConv"),
    "MatMulInteger": ("MatMul", "Gemm", "FusedGemm", "FusedMatMul"),
    "MatMulIntegerToFloat": ("MatMul", "Gemm", "FusedGemm", "FusedMatMul"),
    "DynamicQuantizeMatMul": ("MatMul", "Gemm", "FusedGemm", "FusedMatMul"),
    "QLinearMatMul": ("MatMul", "Gemm", "FusedGemm", "FusedMatMul"),
    "QGemm": ("Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
    "MatMulNBits": ("MatMul", "Gemm", "FusedGemm", "FusedMatMul"),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What the nodes of one type cost in one run: their number, and microseconds in all of them."""

    nodes: int
    us: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Operators of a version by type, with what they cost in one run of `rows` rows."""

    rows: int
    operators: Mapping[str, Spent]

    @property
    def us(self) -> float:
        """Microseconds in all operators."""
        return sum(one.us for one in self.operators.values())

    def of(self, *types: str) -> Spent:
        """What the nodes of these types cost together."""
        found = [self.operators[one] for one in types if one in self.operators]
        return Spent(sum(one.nodes for one in found), sum(one.us for one in found))


def profile(onnx: bytes, inputs: Arrays, bench: Bench, *, rows: int, runs: int = RUNS) -> Profile:
    """Profiles a version at one batch size: medians over `runs` runs, after up to 5 that do not count.

    Args:
        onnx: the model file.
        inputs: name -> (n, ...); the first `rows` are run.
        bench: provider and threads.
        rows: batch size.
        runs: how many are counted.

    Raises:
        Exception: whatever ONNX Runtime raises for a model that does not load or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = bench.threads
        options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(onnx, options, providers=[ORT_NAMES[bench.provider]])
        feed = first_rows(inputs, rows)
        warm = min(5, runs)
        for _ in range(warm + runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    return Profile(rows, _by_type(events, warm, runs))


def explain(full: Profile, variant: Profile) -> tuple[str, ...]:
    """Plain sentences on what costs the variant its speed; both profiled at the same batch size.

    The first says what a run costs in all; the others what stands out, if anything does.
    """
    total = (
        f"At {variant.rows} row{'s' if variant.rows > 1 else ''} a run's operators take {_us(variant.us)} us, "
        f"the full version's {_us(full.us)} us."
    )
    found = (
        *_unfused(variant),
        *_scaling(variant),
        *_dearer(full, variant),
        *_added(full, variant),
    )
    return (total, *(found or _nothing(full, variant)))


def _unfused(variant: Profile) -> tuple[str, ...]:
    spent = variant.of(*_QUANTISERS)
    if not spent.nodes or spent.us < TELLING_SHARE * variant.us:
        return ()
    named = " and ".join(name for name in _QUANTISERS if name in variant.operators)
    return (
        f"{_us(spent.us)} of {_us(variant.us)} us go into {spent.nodes} {named} nodes that ONNX Runtime could not fuse "
        "with the operators between them: there the numbers are turned from float to 8 bits and back.",
    )


def _scaling(variant: Profile) -> tuple[str, ...]:
    spent = variant.of(_SCALING)
    if not spent.nodes or spent.us < TELLING_SHARE * variant.us:
        return ()
    return (
        f"{_us(spent.us)} of {_us(variant.us)} us go into {spent.nodes} {_SCALING} nodes, which look for a scale anew "
        "at every run; static quantisation fixes it beforehand.",
    )


def _dearer(full: Profile, variant: Profile) -> tuple[str, ...]:
    """Operators that cost more than those they stand for, node by node."""
    sentences = []
    for name, before in _STANDS_FOR.items():
        own, theirs = variant.of(name), full.of(*before)
        if not own.nodes or not theirs.nodes or own.us < TELLING_SHARE * variant.us:
            continue
        ratio = (own.us / own.nodes) / (theirs.us / theirs.nodes)
        if ratio >= TELLING_RATIO:
            named = next(one for one in before if one in full.operators)
            sentences.append(
                f"A {name} node costs {ratio:.2g}x what a {named} node of the full version costs: "
                f"{_us(own.us)} us in {own.nodes} against {_us(theirs.us)} us in {theirs.nodes}."
            )
    return tuple(sentences)


def _added(full: Profile, variant: Profile) -> tuple[str, ...]:
    """Operators of which the variant has more, that stand for nothing, and that cost much."""
    sentences = []
    for name, own in variant.operators.items():
        theirs = full.of(name)
        extra_us = own.us - theirs.us
        known = name in (*_QUANTISERS, _SCALING) or name in _STANDS_FOR
        if not known and own.nodes > theirs.nodes and 0 < TELLING_SHARE * variant.us <= extra_us:
            sentences.append(
                f"{own.nodes - theirs.nodes} {name} nodes more than in the full version cost {_us(extra_us)} of "
                f"{_us(variant.us)} us."
            )
    return tuple(sentences)


def _nothing(full: Profile, variant: Profile) -> tuple[str, ...]:
    if {name: one.nodes for name, one in full.operators.items()} == {
        name: one.nodes for name, one in variant.operators.items()
    }:
        return (
            "It runs the same operators as the full version: ONNX Runtime skips no zero and computes no faster with "
            "shared weights, so that what was saved is space.",
        )
    (name, own) = max(variant.operators.items(), key=lambda item: item[1].us)
    return (f"Most of it, {_us(own.us)} us, goes into {own.nodes} {name} node{'s' if own.nodes > 1 else ''}.",)


def _by_type(events: list[dict[str, Any]], warm: int, runs: int) -> dict[str, Spent]:
    """Medians of the last `runs` of each node's times; a node in a loop counts once for each turn."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"], event["name"]].append(float(event["dur"]))
    spent: dict[str, Spent] = {}
    for (op_type, _), durations in times.items():
        turns = max(1, round(len(durations) / (warm + runs)))
        counted = durations[warm * turns :] or durations
        before = spent.get(op_type, Spent(0, 0.0))
        spent[op_type] = Spent(before.nodes + turns, before.us + turns * statistics.median(counted))
    return dict(sorted(spent.items()))


def _us(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
