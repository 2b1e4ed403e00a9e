"""Where the rows come from that are sent, and what each version should answer to them.

Labelled rows of the user's, or of the shipped digits, tell effective accuracy. What a version should answer is asked
of itself beforehand, one row at a time and alone: an answer that differs under load is a wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import httpx
import numpy as np
from numpy.typing import NDArray

from conformance.tensors import make_up
from loadtests.generator.block import Answer
from loadtests.generator.checking import UNREADABLE, decode
from loadtests.pools import MOST_ROWS, Rows, Signature, infer_path, requests_of
from loadtests.server import CannotLoad, Server, error_in

LABELS = "labels"
MADE_UP_ROWS = 32
_BUILT_IN = "digits"
# The arrays of a version's golden cases.
_GOLDEN_INPUT, _GOLDEN_OUTPUT = "input/", "output/"

Array = NDArray[Any]


class BadRows(ValueError):
    """The rows cannot be sent to this model; the message says why."""


def rows_for(model: str, metadata: Mapping[str, Any], file: Path | None, *, seed: int) -> Rows:
    """Rows for a model: the file's, else the shipped digits', else made up from the metadata.

    Args:
        model: its name.
        metadata: as the server gives it.
        file: a .npz with one array an input and, if it is known, `labels`; or a version's golden.npz.
        seed: of what is drawn.

    Raises:
        BadRows: the file's arrays are not the model's inputs.
    """
    random = np.random.default_rng(seed)
    if file is not None:
        return _fitting(_from_file(file), metadata, file.name).take(MOST_ROWS, random)
    if model == _BUILT_IN:
        try:
            return _fitting(_digits(), metadata, "the shipped digits").take(MOST_ROWS, random)
        except BadRows:
            pass  # another model that goes by this name
    made = [_made_up(metadata, f"{seed}/{at}") for at in range(MADE_UP_ROWS)]
    return Rows({name: np.concatenate([one[name] for one in made]) for name in made[0]})


def with_reference(rows: Rows, server: Server, model: str, version: str, signature: Signature) -> Rows:
    """The rows with what this version answers to each of them, asked for one at a time.

    Raises:
        CannotLoad: it does not answer one of them.
    """
    ready = requests_of(rows, signature, host="", path="", encoding="binary" if server.takes_binary else "json")
    answers = []
    with server.client() as http:
        for at, request in enumerate(ready):
            answers.append(_ask(http, infer_path(model, version), request, f"{model}/{version or '-'} of row {at}"))
    names = answers[0].keys()
    return replace(rows, expected={name: np.concatenate([one[name] for one in answers]) for name in names})


def _ask(http: httpx.Client, path: str, request: bytes, what: str) -> dict[str, Array]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    wanted = {"Content-Type", "Inference-Header-Content-Length"}
    headers = {name: value for name, value in lines if name in wanted}
    try:
        answer = http.post(path, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise CannotLoad(f"asked {what}, {http.base_url} gives no answer: {error}.") from None
    if answer.status_code != httpx.codes.OK:
        raise CannotLoad(f"asked {what}, {http.base_url} answers {answer.status_code}: {error_in(answer)}")
    try:
        length = int(answer.headers.get("Inference-Header-Content-Length", 0))
        return decode(Answer(answer.content, length))[1]
    except UNREADABLE as error:
        raise CannotLoad(f"asked {what}, {http.base_url} gives no answer of the protocol: {error}.") from None


def _why(error: Exception) -> str:
    """What is wrong with a file; of the system's own words those without number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _from_file(file: Path) -> Rows:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        TypeError,
        AttributeError,
        BadZipFile,
    ) as error:  # a lone array is no context
        raise BadRows(f"{file} cannot be read as a .npz of arrays: {_why(error)}") from None
    if any(name.startswith(_GOLDEN_INPUT) for name in arrays):
        return Rows(_under(_GOLDEN_INPUT, arrays), expected=_under(_GOLDEN_OUTPUT, arrays), source=file.name)
    labels = arrays.pop(LABELS, None)
    arrays.pop("targets", None)
    if labels is not None and labels.dtype.kind not in "iu":
        raise BadRows(f"{file.name}: labels are {labels.dtype}; whole numbers are expected.")
    return Rows(arrays, None if labels is None else labels.astype(np.int64), source=file.name)


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digits() -> Rows:
    from models.data.digits import part  # noqa: PLC0415 - data and numpy only

    test = part("test")
    return Rows(test.inputs, test.labels, source="the test set of digits")


def _fitting(rows: Rows, metadata: Mapping[str, Any], name: str) -> Rows:
    """The rows of exactly the model's inputs, in its dtypes."""
    inputs = {one["name"]: one for one in metadata.get("inputs") or ()}
    missing = inputs.keys() - rows.inputs.keys()
    if missing:
        raise BadRows(f"{name} has no array for input {sorted(missing)[0]!r} of the model.")
    lengths = {len(np.atleast_1d(rows.inputs[one])) for one in inputs}
    if rows.labels is not None:
        if rows.labels.ndim != 1:
            raise BadRows(f"{name}: labels have the shape {list(rows.labels.shape)}; one number a row is expected.")
        lengths.add(len(rows.labels))
    if lengths == {0}:
        raise BadRows(f"{name} has no row.")
    if len(lengths) != 1:
        raise BadRows(f"{name} has arrays of {sorted(lengths)} rows; they must be of one length.")
    for one, told in inputs.items():
        shape, wanted = rows.inputs[one].shape[1:], told["shape"][1:]
        if len(shape) != len(wanted) or any(w not in (-1, s) for s, w in zip(shape, wanted, strict=True)):
            raise BadRows(f"{name}: a row of {one!r} has the shape {list(shape)}, the model takes {wanted}.")
    cast = {one: _cast(rows.inputs[one], told["datatype"]) for one, told in inputs.items()}
    return replace(rows, inputs=cast)


def _cast(array: Array, datatype: str) -> Array:
    like = make_up("", datatype, [1])
    if like.dtype == np.object_:
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in array.ravel().tolist()]
        return np.fromiter(texts, np.object_, len(texts)).reshape(array.shape)
    try:
        return array.astype(like.dtype)
    except (ValueError, TypeError) as error:
        raise BadRows(f"a row cannot be made {datatype}: {error}.") from None


def _made_up(metadata: Mapping[str, Any], salt: str) -> dict[str, Array]:
    return {
        one["name"]: make_up(f"{one['name']}/{salt}", one["datatype"], [1, *one["shape"][1:]])
        for one in metadata.get("inputs") or ()
    }
