"""How a model and its versions look from outside, as JSON-ready values: metadata, index entries, card summaries.

Pure functions of what serving knows. Sources: Open Inference Protocol v2, "Model Metadata"; Triton's model repository
extension for the states of the index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.core.contract import TensorSpec
from service.repository.card import Card
from service.repository.card_measures import Quality
from service.repository.card_tasks import AnyQuality
from service.serving.catalog import Catalog
from service.serving.gate import Machine
from service.serving.padding import told
from service.serving.reports import VersionView
from service.serving.servable import Servable

PLATFORM = "onnxruntime_onnx"
REMOTE_PLATFORM = "remote"

# The repository extension knows these words; whatever is none of the others is not there for clients.
_INDEX_STATES = {"READY": "READY", "LOADING": "LOADING", "DRAINING": "UNLOADING"}


def metadata(servable: Servable, versions: Iterable[VersionView]) -> dict[str, Any]:
    """A model's metadata as the version of `servable` has it; -1 for every variable dimension, batch included."""
    described: dict[str, Any] = {
        "name": servable.model,
        "versions": [view.version for view in versions if view.state == "READY"],
        "platform": platform(servable),
        "inputs": _tensors(servable.inputs),
        "outputs": _tensors(servable.outputs),
        "batching": {"mode": servable.batchability.mode, "max_batch_size": servable.max_batch_size},
    }
    if not servable.batchability.mixes:
        described["batching"]["reason"] = servable.batchability.reason
    described["batching"].update(told(servable.padding))
    return described


def platform(servable: Servable) -> str:
    """What runs the version, in the form of Triton's platform names."""
    return REMOTE_PLATFORM if servable.provider == "remote" else PLATFORM


def index(catalog: Catalog, *, ready: bool) -> list[dict[str, str]]:
    """The repository's index, every version of every model with its state; with `ready`, those that answer alone."""
    names = catalog.models()
    entries = [entry for name in names for entry in index_entries(name, catalog.versions(name), catalog.reason(name))]
    return [entry for entry in entries if not ready or entry["state"] == "READY"]


def index_entries(model: str, views: Sequence[VersionView], reason: str) -> list[dict[str, str]]:
    """A model in the repository's index: its versions, or one entry without a version where none could be listed."""
    if views:
        return [_index_entry(view) for view in views]
    return [{"name": model, "version": "", "state": "UNAVAILABLE", "reason": reason}]


def _index_entry(view: VersionView) -> dict[str, str]:
    state = _INDEX_STATES.get(view.state, "UNAVAILABLE")
    return {"name": view.model, "version": view.version, "state": state, "reason": view.reason}


def summary(view: VersionView, machine: Machine) -> dict[str, Any]:
    """One version with what its card says in short; `accuracy` and `agreement` as measured on `machine`'s kind."""
    described: dict[str, Any] = {
        "model": view.model,
        "version": view.version,
        "state": view.state,
        "reason": view.reason,
        "active": view.active,
        "unverified_here": view.unverified_here,
        "load_s": view.load_s,
        "bytes": view.disk_bytes,
        "warnings": list(view.warnings),
    }
    return described | (_of_card(view.card, machine) if view.card is not None else dict.fromkeys(_CARD_KEYS))


_CARD_KEYS = ("variant_of", "recipe", "verdict", "gain_kind", "accuracy", "agreement", "n", "quality", "latency")


def _of_card(card: Card, machine: Machine) -> dict[str, Any]:
    here = card.quality_on(machine.provider, machine.cpu_class)
    values = (
        card.variant_of,
        card.recipe.name if card.recipe is not None else None,
        card.verdict,
        card.gain_kind,
        _accuracy(here),
        here.agreement if here is not None else None,
        here.n if here is not None else None,
        [_quality(entry) for entry in card.quality],
        [_latency(entry) for entry in card.speed],
    )
    return dict(zip(_CARD_KEYS, values, strict=True))


def _quality(entry: AnyQuality) -> dict[str, Any]:
    keys = ("provider", "cpu_class", "n", "agreement", "verdict", "task")
    return {key: getattr(entry, key) for key in keys} | {"accuracy": _accuracy(entry)}


def _accuracy(entry: AnyQuality | None) -> float | None:
    """Of a classifier that was measured; other tasks have no accuracy."""
    return entry.accuracy if isinstance(entry, Quality) else None


def _latency(entry: Any) -> dict[str, Any]:
    keys = ("provider", "cpu_class", "threads", "rows", "speedup")
    return {key: getattr(entry, key) for key in keys} | {"p50_ms": entry.own.p50_ms, "p99_ms": entry.own.p99_ms}


def _tensors(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs.values()]
