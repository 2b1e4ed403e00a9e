"""Answers an output as its highest classes in place of its numbers: `<value>:<index>[:<label>]`, best first.

Values are written as `%f` does. Source: Triton's classification extension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

import numpy as np

from service.core.contract import Array, InferResponse, RequestedOutput
from service.core.errors import BadInput
from service.gateway.quote import quote

PARAMETER = "classification"
_COUNT_LIMIT = 1 << 31


def check_classification(output: RequestedOutput) -> None:
    """Refuses a `classification` that is no number of classes above 0."""
    if PARAMETER not in output.parameters:
        return
    count = output.parameters[PARAMETER]  # None where JSON says null, or gRPC a parameter without a value
    if type(count) is not int or not 0 < count < _COUNT_LIMIT:
        raise BadInput(f"parameter '{PARAMETER}' of output {quote(output.name)} must be a number of classes above 0")


def classified(
    answer: InferResponse,
    wanted: Iterable[RequestedOutput],
    labels_of: Callable[[str], Sequence[str] | None],
    *,
    batched: bool,
) -> InferResponse:
    """The answer with every output that is wanted as classes turned into them.

    Args:
        answer: of the version.
        wanted: what the request asked for, checked already.
        labels_of: an output's name -> names of its classes by index; None for none.
        batched: whether the first axis of the outputs is the batch.

    Raises:
        BadInput: an output has no numbers to choose from.
    """
    counts = {output.name: output.parameters[PARAMETER] for output in wanted if PARAMETER in output.parameters}
    if not counts:
        return answer
    outputs = {
        name: classes(array, counts[name], labels_of(name) or (), batched=batched, name=name)
        if name in counts
        else array
        for name, array in answer.outputs.items()
    }
    return answer._replace(outputs=outputs)


def classes(array: Array, count: int, labels: Sequence[str], *, batched: bool, name: str) -> Array:
    """The `count` highest elements of each row, or of the whole array where there is no batch; fewer if it has fewer.

    Equal values come in the order of their index, NaN last.

    Returns:
        Object array of `bytes`, shape [rows, count] or [count].

    Raises:
        BadInput: the array holds text or booleans.
    """
    if array.dtype.kind not in "fiu":
        raise BadInput(f"output {quote(name)} holds no numbers, so parameter '{PARAMETER}' cannot choose among them")
    by_row = batched and array.ndim > 0
    rows = array.reshape(array.shape[0] if by_row else 1, prod(array.shape[by_row:]))
    best = _highest(rows, min(count, rows.shape[1]))
    texts = np.empty(best.shape, dtype=np.object_)
    for row, indices in enumerate(best):
        texts[row] = [_text(rows[row, index], int(index), labels) for index in indices]
    return texts if by_row else texts[0]


def _highest(rows: Array, count: int) -> Array:
    """Indices of the `count` highest values of each row, highest first."""
    # A stable ascending sort of the reversed row leaves, read backwards, equal values in the order of their index.
    turned = rows[:, ::-1]
    if rows.dtype.kind == "f" and (strange := np.isnan(turned)).any():
        ascending = np.lexsort((np.where(strange, -np.inf, turned), ~strange))  # NaN is below -inf
    else:
        ascending = np.argsort(turned, axis=1, kind="stable")
    highest: Array = (rows.shape[1] - 1 - ascending)[:, ::-1][:, :count]
    return highest


def _text(value: np.generic, index: int, labels: Sequence[str]) -> bytes:
    number = f"{float(value):f}" if isinstance(value, np.floating) else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}".encode()
