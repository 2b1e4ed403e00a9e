"""What handlers return, as Starlette responses: JSON, an inference answer, a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from service.gateway.codec import JSON, Encoded
from service.gateway.compression import encoded
from service.gateway.guard import HEADER_LENGTH
from service.gateway.joining import Blob
from service.gateway.problems import Problem


def json_answer(content: Any, status: int = 200) -> Response:
    """`content` as JSON."""
    return Response(orjson.dumps(content), status, media_type=JSON)


async def inference_answer(answer: Encoded, request_headers: Mapping[bytes, bytes]) -> Response:
    """An inference answer in a coding that the client takes, with its JSON's length where binary data follows it."""
    accepted = request_headers.get(b"accept-encoding", b"")
    body, coding = await encoded(answer.body, accepted) if accepted else (answer.body, "")
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(body))]
    if answer.header_length is not None:
        headers.append((HEADER_LENGTH, b"%d" % answer.header_length))
    if coding:
        headers += [(b"content-encoding", coding.encode()), (b"vary", b"Accept-Encoding")]
    return _Ready(body, headers)


class _Ready(Response):
    """An answer whose headers are bytes already, which Starlette would make of texts and look through first."""

    def __init__(self, body: Blob, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = headers


def problem_answer(problem: Problem) -> Response:
    """An error."""
    return Response(problem.body, problem.status, headers=problem.headers, media_type=JSON)
