"""`retort infer`: which route a file takes, and what is printed of the answer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.cli.conftest import Retort, ScriptedServer

LOGITS = {"name": "logits", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, 1, 0]}
ANSWER: dict[str, Any] = {"model_name": "digits", "model_version": "1-int8", "outputs": [LOGITS]}


NPY = io.BytesIO()
np.save(NPY, np.zeros(1))


@pytest.fixture
def npz(tmp_path: Path) -> str:
    np.savez(tmp_path / "rows.npz", pixels=np.zeros((2, 64), np.float32))
    return str(tmp_path / "rows.npz")


def written(folder: Path, form: object) -> str:
    (folder / "rows.json").write_text(json.dumps(form))
    return str(folder / "rows.json")


def test_an_npz_is_sent_as_binary_tensors(retort: Retort, server: ScriptedServer, npz: str) -> None:
    server.on("POST /v2/models/digits/infer", ANSWER)
    outcome = retort("infer", "digits", npz, "--url", server.url)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "digits version 1-int8",
        "logits FP32 [2, 2]",
        "[[0.25 0.75]",
        " [1.   0.  ]]",
    ]
    length = int(server.requests[0].headers["Inference-Header-Content-Length"])
    assert json.loads(server.requests[0].body[:length])["inputs"][0]["name"] == "pixels"
    assert server.requests[0].body[length:] == bytes(2 * 64 * 4)


def test_of_golden_cases_the_inputs_are_sent(retort: Retort, server: ScriptedServer, tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"input/image": np.zeros(3, np.int8), "output/scores": np.ones(3, np.int8)})
    server.on("POST /v2/models/digits/infer", ANSWER)
    assert retort("infer", "digits", str(tmp_path / "golden.npz"), "--url", server.url).code == 0
    length = int(server.requests[0].headers["Inference-Header-Content-Length"])
    assert [tensor["name"] for tensor in json.loads(server.requests[0].body[:length])["inputs"]] == ["image"]


def test_a_binary_answer_is_read(retort: Retort, server: ScriptedServer, npz: str) -> None:
    output = {"name": "y", "shape": [1, 2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}
    head = json.dumps(ANSWER | {"outputs": [output]}).encode()
    server.on(
        "POST /v2/models/digits/infer",
        head + np.array([7, 8]).tobytes(),
        **{"Inference_Header_Content_Length": str(len(head))},
    )
    assert retort("infer", "digits", npz, "--url", server.url).out.splitlines()[1:] == ["y INT64 [1, 2]", "[[7 8]]"]


def test_a_version_may_be_named(retort: Retort, server: ScriptedServer, npz: str) -> None:
    server.on("POST /v2/models/digits/versions/1-int8/infer", ANSWER)
    assert retort("infer", "digits", npz, "--version", "1-int8", "--url", server.url).code == 0


def test_an_open_inference_body_is_sent_as_it_is(retort: Retort, server: ScriptedServer, tmp_path: Path) -> None:
    server.on("POST /v2/models/digits/infer", ANSWER)
    body = {"id": "7", "inputs": [{"name": "pixels", "shape": [1], "datatype": "FP32", "data": [1]}]}
    outcome = retort("infer", "digits", written(tmp_path, body), "--url", server.url)
    assert outcome.out.startswith("digits version 1-int8\nlogits FP32 [2, 2]\n")
    assert server.requests[0].json == body
    assert server.requests[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("body", [{"instances": [[1]]}, {"inputs": {"pixels": [[1]]}}])
def test_a_tensorflow_serving_body_goes_to_predict(
    retort: Retort, server: ScriptedServer, tmp_path: Path, body: object
) -> None:
    server.on("POST /v1/models/digits:predict", {"predictions": [3]})
    outcome = retort("infer", "digits", written(tmp_path, body), "--url", server.url)
    assert json.loads(outcome.out) == {"predictions": [3]}
    assert server.requests[0].json == body


def test_predict_may_name_a_version_too(retort: Retort, server: ScriptedServer, tmp_path: Path) -> None:
    server.on("POST /v1/models/digits/versions/2:predict", {"predictions": []})
    file = written(tmp_path, {"instances": []})
    assert retort("infer", "digits", file, "--version", "2", "--url", server.url).code == 0


def test_a_page_in_place_of_predictions_is_a_failure(retort: Retort, server: ScriptedServer, tmp_path: Path) -> None:
    server.on("POST /v1/models/digits:predict", b"<html>")
    outcome = retort("infer", "digits", written(tmp_path, {"instances": []}), "--url", server.url)
    assert outcome.code == 1
    assert outcome.err.endswith("answered something other than JSON: is it a retort server?\n")


def test_a_length_that_is_no_number_is_a_failure(retort: Retort, server: ScriptedServer, npz: str) -> None:
    server.on("POST /v2/models/digits/infer", ANSWER, **{"Inference-Header-Content-Length": "many"})
    outcome = retort("infer", "digits", npz, "--url", server.url)
    assert outcome.err == "retort: the server's answer is no Open Inference Protocol message.\n"


def test_a_server_may_leave_its_version_out(retort: Retort, server: ScriptedServer, npz: str) -> None:
    server.on("POST /v2/models/digits/infer", {"model_name": "digits", "outputs": []})
    outcome = retort("infer", "digits", npz, "--url", server.url)
    assert (outcome.code, outcome.out) == (0, "digits\n")


def test_a_refusal_of_the_server_is_the_failure(retort: Retort, server: ScriptedServer, npz: str) -> None:
    server.on("POST /v2/models/digits/infer", {"error": "input 'pixels' has shape [2, 64]"}, status=400)
    outcome = retort("infer", "digits", npz, "--url", server.url)
    assert (outcome.code, outcome.err) == (1, "retort: input 'pixels' has shape [2, 64]\n")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.npz", b"not a zip", "cannot be read as arrays"),
        ("rows.npz", b"PK\x03\x04 cut off", "cannot be read as arrays"),
        ("rows.npz", NPY.getvalue(), "without a name"),
        ("rows.json", b"{", "is not JSON"),
        ("rows.json", b"\xff\xfe{", "is not JSON"),
        ("rows.json", b"[" * 100_000, "is not JSON"),
        ("rows.csv", b"1,2", "neither .npz nor .json"),
    ],
)
def test_a_file_that_cannot_be_sent_is_a_failure(
    retort: Retort, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    outcome = retort("infer", "digits", str(tmp_path / name))
    assert outcome.code == 1
    assert words in outcome.err


def test_pickled_arrays_are_never_opened(retort: Retort, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.array([{"a": 1}], np.object_))
    outcome = retort("infer", "digits", str(tmp_path / "rows.npz"))
    assert outcome.code == 1
    assert outcome.err.endswith(
        "rows.npz cannot be read as arrays: expected a file of numpy.savez that holds no Python objects.\n"
    )


def test_a_file_that_is_not_there_is_a_mistyped_argument(retort: Retort) -> None:
    assert retort("infer", "digits", "no-such.npz").code == 2
