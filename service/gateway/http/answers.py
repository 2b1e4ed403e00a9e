"""What handlers return, as Starlette responses: JSON, an inference answer, a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.contract import ModelRef
from service.gateway.codec import HEADER_LENGTH, JSON, Encoded
from service.gateway.compression import encoded
from service.gateway.problems import Problem


def json_answer(content: Any, status: int = 200) -> Response:
    """`content` as JSON."""
    return Response(orjson.dumps(content), status, media_type=JSON)


async def inference_answer(answer: Encoded, request_headers: Mapping[bytes, bytes]) -> Response:
    """An inference answer in a coding that the client takes, with its JSON's length where binary data follows it."""
    accepted = request_headers.get(b"accept-encoding", b"")
    body, coding = await encoded(answer.body, accepted) if accepted else (answer.body, "")
    headers = {} if answer.header_length is None else {HEADER_LENGTH: str(answer.header_length)}
    if coding:
        headers |= {"content-encoding": coding, "vary": "Accept-Encoding"}
    return Response(body, headers=headers, media_type=answer.content_type)


def problem_answer(problem: Problem) -> Response:
    """An error."""
    return Response(problem.body, problem.status, headers=problem.headers, media_type=JSON)


def ref_of(request: Request) -> ModelRef:
    """The model, and the version if any, that the path names."""
    return ModelRef(request.path_params["model"], request.path_params.get("version"))
