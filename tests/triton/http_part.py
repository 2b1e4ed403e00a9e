"""Triton and Retort side by side over HTTP: the same documents, the same answers, the same statuses."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import tritonclient.http as triton

from tests.triton.bad_requests import BAD, status_of
from tests.triton.deviations import COUNTS_WRONG_REQUESTS, SHAPES, STATUSES
from tests.triton.report import Report
from tests.triton.shapes import differences

TEXTS = np.array([[b"a", "é".encode(), b"", b"0"]], dtype=object)
DOCUMENTS = (
    ("server", "/v2"),
    ("metadata", "/v2/models/digits"),
    ("configuration", "/v2/models/digits/config"),
    ("statistics", "/v2/models/digits/stats"),
    ("statistics", "/v2/models/stats"),
)


def compare_http(report: Report, theirs: str, ours: str, rows: Any) -> None:
    """Compares the server at `theirs`, which is Triton, with the one at `ours`."""
    for model, name, array, output in (("digits", "image", rows, "logits"), ("text", "x", TEXTS, "y")):
        for binary in (True, False):
            answers = [infer(url, model, name, array, output, binary=binary) for url in (theirs, ours)]
            how = "binary" if binary else "JSON"
            report.holds(f"HTTP {how} answers of {model}", close(*answers), f"{len(array)} rows")
    for what, path in DOCUMENTS:
        compare_documents(report, what, path, *(httpx.get(url + path).json() for url in (theirs, ours)))
    indices = [httpx.post(f"{url}/v2/repository/index", json={}).json() for url in (theirs, ours)]
    compare_documents(report, "index", "/v2/repository/index", *indices)
    compare_values(report, theirs, ours)
    for bad in BAD:
        report.compare(
            f"HTTP status: {bad.name}", *(status_of(url, bad) for url in (theirs, ours)), STATUSES.get(bad.name)
        )
    counted = [counts_failures(url) for url in (theirs, ours)]
    report.compare("wrong requests are counted as failed", *counted, COUNTS_WRONG_REQUESTS)


def counts_failures(url: str) -> bool:
    """Whether the statistics of digits count any failed request."""
    told = httpx.get(f"{url}/v2/models/digits/stats").json()["model_stats"][0]
    return bool(told["inference_stats"]["fail"]["count"])


def compare_documents(report: Report, what: str, where: str, first: Any, second: Any) -> None:
    """Compares the shapes of two documents; a configuration of ours may say more, and never less."""
    found = differences(first, second)
    for place in found:
        known = SHAPES.get((what, place.path))
        if known is None and what == "configuration" and not place.first:
            known = (place.first, place.second, "an addition")
        report.compare(f"{where} {place.path}", place.first, place.second, known)
    report.holds(f"{where}: shapes compared", True, f"{len(found)} differences")


def compare_values(report: Report, theirs: str, ours: str) -> None:
    """The values of metadata and configuration that say the same of the same model."""
    first, second = (httpx.get(f"{url}/v2/models/digits").json() for url in (theirs, ours))
    for key in ("name", "versions", "inputs", "outputs"):
        report.compare(f"metadata: {key}", first[key], second[key])
    first, second = (httpx.get(f"{url}/v2/models/digits/config").json() for url in (theirs, ours))
    for key in ("name", "max_batch_size"):
        report.compare(f"configuration: {key}", first[key], second[key])
    for side in ("input", "output"):
        for key in ("name", "data_type", "dims"):
            report.compare(f"configuration: {side} {key}", first[side][0][key], second[side][0][key])


def infer(url: str, model: str, name: str, array: Any, output: str, *, binary: bool) -> Any:
    """What the server at `url` answers to Triton's own client."""
    tensor = triton.InferInput(name, list(array.shape), "BYTES" if array.dtype == object else "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary)
    wanted = [triton.InferRequestedOutput(output, binary_data=binary)]
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        return client.infer(model, [tensor], outputs=wanted).as_numpy(output)


def close(first: Any, second: Any) -> bool:
    """Whether two answers are the same, to the last bits of a float."""
    if first.dtype == object:
        text = [[one.decode() if isinstance(one, bytes) else one for one in array.ravel()] for array in (first, second)]
        return bool(text[0] == text[1])
    return bool(first.shape == second.shape and np.abs(first - second).max() < 1e-4)
