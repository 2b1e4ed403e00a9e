"""Reads the answers of a block once it is over: which class each names, and whether it is what was expected.

Done afterwards, so that looking at one answer delays no other request.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.tensors import of_json, unpack
from loadtests.generator.block import RIGHT, UNCHECKED, WRONG, Answer
from loadtests.grpc_messages import decode as decode_message
from loadtests.pools import Pool

# Of the largest expected value; a variant's golden cases hold as closely in its own server.
TOLERANCE = 1e-3

# What reading an answer that is none of the protocol may end with.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, struct.error)

Array = NDArray[Any]
Seen = tuple[int, int]


class Checker:
    """Holds answers against what a pool's rows should give; equal bodies of one row are read once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._decode = decode_grpc if pool.protocol == "grpc" else decode
        self._known: dict[tuple[int, int, bytes], tuple[Seen, str]] = {}
        self._scales: dict[int, float] = {}

    def check(self, answer: Answer, row: int) -> Seen:
        """(`RIGHT`, `WRONG` or `UNCHECKED`, class or -1) of an answer of status 200 to the request of this row.

        An answer that names another version, or that cannot be read, is wrong.
        """
        return self._look(answer, row)[0]

    def answered_by(self, answer: Answer, row: int) -> str:
        """The version that the answer names; "" where it names none or cannot be read."""
        return self._look(answer, row)[1]

    def _look(self, answer: Answer, row: int) -> tuple[Seen, str]:
        key = (row, answer.json_bytes, answer.body)
        if key not in self._known:
            if len(self._known) > 4 * len(self._pool.rows):  # ids of requests in the answers, or answers that waver
                self._known.clear()
            self._known[key] = self._read(answer, row)
        return self._known[key]

    def _read(self, answer: Answer, row: int) -> tuple[Seen, str]:
        try:
            version, outputs = self._decode(answer)
        except UNREADABLE:
            return (WRONG, -1), ""
        wanted = self._pool.versions[row] if self._pool.versions else self._pool.version
        if wanted and version != wanted:
            return (WRONG, -1), version
        chosen = outputs.get(self._pool.output)
        return (self._held(outputs, row, version), _class_of(chosen)), version

    def _expected(self, version: str) -> Mapping[str, Array] | None:
        if self._pool.answers is None:
            return self._pool.rows.expected
        return self._pool.answers.get(version, {})

    def _held(self, outputs: Mapping[str, Array], row: int, version: str) -> int:
        expected = self._expected(version)
        if expected is None:
            return UNCHECKED
        if not expected:  # a version that nobody was told of
            return WRONG
        for name, arrays in expected.items():
            found, wanted = outputs.get(name), arrays[row : row + 1]
            if found is None or found.shape != wanted.shape:
                return WRONG
            if wanted.dtype.kind != "f":
                if not np.array_equal(found, wanted):
                    return WRONG
            elif not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * self._scale(arrays), equal_nan=True):
                return WRONG
        return RIGHT

    def _scale(self, expected: Array) -> float:
        """Its largest finite value; of arrays that live as long as the pool."""
        if id(expected) not in self._scales:
            finite = expected[np.isfinite(expected)]
            self._scales[id(expected)] = float(np.abs(finite).max(initial=0))
        return self._scales[id(expected)]


def _class_of(output: Array | None) -> int:
    """The place of its largest value; -1 where it has none."""
    return int(output.argmax()) if output is not None and output.size and output.dtype.kind in "fiu" else -1


def decode_grpc(answer: Answer) -> tuple[str, dict[str, Array]]:
    """As `decode`, of a serialised ModelInferResponse."""
    return decode_message(answer.body)


def decode(answer: Answer) -> tuple[str, dict[str, Array]]:
    """The version that answered, and its outputs by name.

    Raises:
        One of UNREADABLE: it is no answer of the protocol.
    """
    head = json.loads(answer.body[: answer.json_bytes] if answer.json_bytes else answer.body)
    at, outputs = answer.json_bytes, {}
    for entry in head["outputs"]:
        size = (entry.get("parameters") or {}).get("binary_data_size")
        if size is None:
            outputs[entry["name"]] = of_json(entry["data"], entry["datatype"], entry["shape"])
            continue
        outputs[entry["name"]] = unpack(answer.body[at : at + size], entry["datatype"], entry["shape"])
        at += size
    return str(head.get("model_version", "")), outputs
