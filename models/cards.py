"""Puts cards together: what is known of a version's making, what its files say, and how it was appraised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import describe
from models.evaluate.appraise import Appraisal
from service.repository.card import Card, Data, Golden, GoldenTolerance, Graph, Parent, Recipe

ONNX = "model.onnx"
CODED = "model.deep"
GOLDEN = "golden.npz"


@dataclass(frozen=True, slots=True)
class Origin:
    """What no measurement can tell of a version; `needs` names what it cannot be served well without."""

    model: str
    version: str
    recipe: Recipe
    data: Data
    licence: str
    not_verified: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Full:
    """The full version that a variant was made from; `sha256` is its model.onnx's where weights lie beside that."""

    version: str
    onnx: bytes
    sha256: str = ""


def card(
    origin: Origin,
    files: Mapping[str, bytes],
    appraisal: Appraisal,
    *,
    golden_max_abs: float | None,
    golden_top1: bool = True,
    onnx: bytes | None = None,
    full: Full | None = None,
) -> Card:
    """The card of a version.

    Args:
        origin: how it was made.
        files: name -> content of the version's other files, model.onnx or its coded form, and golden.npz.
        appraisal: what was measured of it.
        golden_max_abs: absolute tolerance of its golden outputs here; None without golden cases.
        golden_top1: whether the golden outputs name classes, which must be the same.
        onnx: what the runtime loads, where that is not a file but what one decodes to.
        full: for a variant, the version it was made from.
    """
    return Card(
        model=origin.model,
        version=origin.version,
        variant_of=full.version if full else None,
        parent=_parent(full) if full else None,
        files=describe.file_entries(files),
        licence=origin.licence,
        golden=None if golden_max_abs is None else _golden(appraisal, golden_max_abs, golden_top1),
        recipe=origin.recipe,
        data=origin.data,
        graph=_graph(origin, files[ONNX] if onnx is None else onnx, full),
        **_measured(appraisal),
        not_verified=origin.not_verified,
        produced_by=describe.producer(),
    )


def _measured(appraisal: Appraisal) -> dict[str, Any]:
    decision = appraisal.decision
    return {
        "size": appraisal.size,
        "quality": (appraisal.quality,),
        "batching": appraisal.batching,
        "speed": appraisal.speed,
        "speed_notes": appraisal.notes,
        "gain_kind": appraisal.gain_kind,
        "verdict": decision.verdict if decision else None,
        "reasons": decision.reasons if decision else (),
    }


def _graph(origin: Origin, onnx: bytes, full: Full | None) -> Graph:
    return describe.graph(onnx, parent=full.onnx if full else None, needs=origin.needs)


def _parent(full: Full) -> Parent:
    return Parent(version=full.version, sha256=full.sha256 or describe.sha256(full.onnx))


def _golden(appraisal: Appraisal, max_abs: float, top1: bool) -> Golden:
    here = appraisal.quality
    tolerance = GoldenTolerance(provider=here.provider, cpu_class=here.cpu_class, max_abs=max_abs)
    return Golden(tolerances=(tolerance,), top1=top1)
