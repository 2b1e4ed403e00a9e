"""TensorFlow Serving's simple JSON: rows (`instances`) or columns (`inputs`) to `InferRequest`, and answers back.

Names may be left out where a version has one input or one output. Datatypes are the version's; shapes follow from the
nesting. `"labels": true` asks for the best class of each row by name. Source: TensorFlow Serving's RESTful API,
"Predict API".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.core.contract import Array, Arrays, InferRequest, InferResponse, TensorSpec
from service.core.errors import BadInput, NotRepresentable
from service.gateway import json_tensors
from service.gateway.codec import parse_object
from service.gateway.quote import listing, quote

_KEYS = frozenset({"instances", "inputs", "labels", "signature_name"})


@dataclass(frozen=True, slots=True)
class Style:
    """How the answer is to look: by rows or by columns, or the labels alone."""

    rows: bool
    labels: bool


def decode(
    body: bytes, specs: Mapping[str, TensorSpec], class_labels: Sequence[str] | None
) -> tuple[InferRequest, Style]:
    """Reads one predict request.

    Args:
        body: `{"instances": [...]}` or `{"inputs": ...}`, and `"labels": true` where labels are wanted.
        specs: the version's inputs by name.
        class_labels: the model's; None or none where it has none, and the request may not ask for them.

    Raises:
        BadInput: what is wrong, where, and what was expected.
    """
    document = parse_object(body)
    unknown = document.keys() - _KEYS
    if unknown:
        raise BadInput(f"the request has the key {quote(min(unknown))}, only {listing(sorted(_KEYS))} are known")
    labels = document.get("labels", False)
    if type(labels) is not bool:
        raise BadInput(f"'labels' of the request must be true or false, not {quote(labels)}")
    if labels and not class_labels:
        raise BadInput("'labels' is true, but the model's configuration has no labels")
    if ("instances" in document) is ("inputs" in document):
        raise BadInput("the request must have either 'instances' or 'inputs'")
    rows = "instances" in document
    columns = _columns_of_rows(document["instances"], specs) if rows else _columns(document["inputs"], specs)
    arrays = {name: _array(data, specs[name]) for name, data in columns.items()}
    return InferRequest(inputs=arrays), Style(rows, labels)


def encode(response: InferResponse, style: Style, labels: Sequence[str] | None) -> bytes:
    """Writes one answer: `predictions`, `outputs`, or `labels` and `scores`.

    Args:
        response: every output of the version.
        style: what the request asked for.
        labels: the model's, in the order of its scores; needed only where the request asked for them.

    Raises:
        BadInput: labels are asked for, and no output is their scores.
        NotRepresentable: an output is FP16, holds NaN or infinity, or is no UTF-8 text.
    """
    if style.labels:
        return _labelled(response.outputs, labels or ())
    values = {name: _nested(array, name) for name, array in response.outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    if not style.rows:
        return _dump({"outputs": values if only is None else only})
    if only is not None:
        return _dump({"predictions": only})
    counts = {array.shape[:1] for array in response.outputs.values()}
    if len(counts) > 1 or () in counts:
        raise NotRepresentable("the outputs have different numbers of rows: send 'inputs' instead of 'instances'")
    return _dump({"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]})


def _columns_of_rows(instances: Any, specs: Mapping[str, TensorSpec]) -> dict[str, list[Any]]:
    if type(instances) is not list or not instances:
        raise BadInput("'instances' of the request must be a list with at least one row")
    if type(instances[0]) is not dict:
        return {_only(specs, "each instance"): instances}
    names = list(instances[0])
    for number, row in enumerate(instances):
        if type(row) is not dict or row.keys() != instances[0].keys():
            raise BadInput(f"instance {number} of the request does not name the same inputs as the first")
    _check_names(names, specs)
    return {name: [row[name] for row in instances] for name in names}


def _columns(inputs: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    if type(inputs) is not dict:
        return {_only(specs, "'inputs'"): inputs}
    _check_names(list(inputs), specs)
    return inputs


def _only(specs: Mapping[str, TensorSpec], what: str) -> str:
    if len(specs) != 1:
        raise BadInput(f"{what} must be an object with the inputs {listing(specs)}")
    return next(iter(specs))


def _check_names(names: list[str], specs: Mapping[str, TensorSpec]) -> None:
    for name in names:
        if name not in specs:
            raise BadInput(f"the model has no input {quote(name)}, only {listing(specs)}")


def _array(data: Any, spec: TensorSpec) -> Array:
    """The array whose shape the nesting of `data` tells, as far as the version's rank goes."""
    shape: list[int] = []
    level = data
    while len(shape) < len(spec.dims) and type(level) is list:
        shape.append(len(level))
        level = level[0] if level else None
    wrapped = data if shape else [data]
    return json_tensors.array_of(wrapped, shape, spec.datatype, spec.name)


def _nested(array: Array, name: str) -> Any:
    """What orjson writes as nested lists; refuses what JSON cannot carry."""
    json_tensors.refuse_non_finite(array, name)
    values = json_tensors.values_of(array, name)
    if isinstance(values, np.ndarray):
        return values.reshape(array.shape) if array.ndim else values[0]  # orjson knows no array without an axis
    return np.array(values, dtype=np.object_).reshape(array.shape).tolist()


def _labelled(outputs: Arrays, labels: Sequence[str]) -> bytes:
    named = ((n, a) for n, a in outputs.items() if a.dtype.kind == "f" and a.shape[1:] == (len(labels),))
    name, scores = next(named, ("", None))
    if scores is None:
        raise BadInput("'labels' is true, but the version has no output with one score for each label")
    json_tensors.refuse_non_finite(scores, name)
    best = scores.argmax(axis=1)
    words = [labels[index] for index in best]
    return _dump({"labels": words, "scores": scores[np.arange(len(best)), best].astype(np.float64)})


def _dump(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY, default=_scalar)


def _scalar(value: Any) -> Any:
    """A number of a type that orjson does not know: numpy has two of 64 bits, and ONNX Runtime gives the other one."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError
