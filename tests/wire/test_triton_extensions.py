"""Triton's HTTP extensions, by its own client: classification, compression, raw requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from tests.support.process import ServerProcess
from tests.wire import digits
from tests.wire.digits import ANSWERS, OUTPUT, ROWS, is_answer_of

CODINGS = [None, "gzip", "deflate"]


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as connected:
        yield connected


def image(rows: Any, binary: bool = True) -> Any:
    return digits.image(triton, rows, binary_data=binary)


@pytest.mark.parametrize("binary", [True, False])
def test_the_highest_classes_come_with_their_labels(client: Any, binary: bool) -> None:
    wanted = [triton.InferRequestedOutput(OUTPUT, binary_data=binary, class_count=3)]
    found = client.infer("digits", [image(ROWS[:4])], "1", outputs=wanted).as_numpy(OUTPUT)
    assert found.shape == (4, 3)
    expected = np.argsort(-ANSWERS["1"][:4], axis=1, kind="stable")[:, :3]
    for row, indices in zip(found, expected, strict=True):
        parts = [(text.decode() if isinstance(text, bytes) else text).split(":") for text in row]
        assert [int(index) for _, index, _ in parts] == indices.tolist()
        assert [label for _, _, label in parts] == [str(index) for index in indices]


@pytest.mark.parametrize("request_coding", CODINGS)
@pytest.mark.parametrize("response_coding", CODINGS)
@pytest.mark.parametrize("binary", [True, False])
def test_bodies_may_be_compressed_both_ways(
    client: Any, request_coding: str | None, response_coding: str | None, binary: bool
) -> None:
    answer = client.infer(
        "digits",
        [image(ROWS, binary)],
        "1",
        outputs=[triton.InferRequestedOutput(OUTPUT, binary_data=binary)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    assert is_answer_of("1", answer.as_numpy(OUTPUT), len(ROWS))


@pytest.mark.parametrize("coding", CODINGS)
async def test_the_asynchronous_client_compresses_too(server: ServerProcess, coding: str | None) -> None:
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        answer = await client.infer(
            "digits",
            [image(ROWS)],
            "1-int8",
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
    assert is_answer_of("1-int8", answer.as_numpy(OUTPUT), len(ROWS))


def test_a_raw_request_needs_no_description(server: ServerProcess) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/v2/models/digits/versions/1/infer",
        content=ROWS[:1].tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert is_answer_of("1", np.frombuffer(answer.content[length:], np.float32).reshape(1, -1), 1)


def test_priority_and_timeout_and_unknown_parameters_are_let_pass(client: Any) -> None:
    answer = client.infer(
        "digits", [image(ROWS[:1])], "1", priority=1, timeout=10_000_000, parameters={"mine": "x"}, request_id="7"
    )
    assert is_answer_of("1", answer.as_numpy(OUTPUT), 1)
