"""What a call of a remote server raises, as errors of ours with one clean sentence.

A remote's own text may hold its paths, class names and tracebacks: only what it says about a wrong input is passed on,
cleaned and cut. Source of the codes: gRPC's "Status codes and their use".
"""

from __future__ import annotations

import re

import grpc

from service.core.errors import BadInput, NotReady, Rejected, RetortError, RunFailed, Stuck

_READ_CHARACTERS = 4_000
_LIMIT_CHARACTERS = 300
_REQUEST_ID = re.compile(r"\[request id: [^\]\s]*+\] ?")
_CODE = grpc.StatusCode


def is_lost(error: grpc.RpcError) -> bool:
    """Whether the connection failed, or the other side takes nothing now, so that asking again may help.

    gRPC does not tell the two apart. An inference changes nothing, so that one which ran already may run again.
    """
    return error.code() is _CODE.UNAVAILABLE


def is_silent(error: grpc.RpcError) -> bool:
    """Whether no answer came in time."""
    return error.code() is _CODE.DEADLINE_EXCEEDED


def failure(error: grpc.RpcError, timeout_s: float) -> RetortError:
    """The error for a failed call of at most `timeout_s`."""
    code = error.code()
    if code is _CODE.INVALID_ARGUMENT:
        return BadInput(f"the remote server refuses the input: {sentence(error.details() or '')}")
    if code is _CODE.DEADLINE_EXCEEDED:
        return Stuck(f"the remote server that runs this model did not answer within {timeout_s:g} s")
    known = _SENTENCES.get(code)
    return known[0](known[1]) if known is not None else RunFailed("the remote server failed on this request")


_SENTENCES: dict[grpc.StatusCode, tuple[type[RetortError], str]] = {
    _CODE.UNAVAILABLE: (NotReady, "the remote server that runs this model is not reachable or not ready"),
    _CODE.NOT_FOUND: (NotReady, "the remote server has no such model or version now"),
    _CODE.RESOURCE_EXHAUSTED: (Rejected, "the remote server that runs this model has no room for the request"),
    _CODE.CANCELLED: (NotReady, "the remote server that runs this model gave the request up"),
    _CODE.UNIMPLEMENTED: (RunFailed, "the remote server does not speak the inference protocol"),
    _CODE.UNAUTHENTICATED: (RunFailed, "the remote server does not let this server in"),
    _CODE.PERMISSION_DENIED: (RunFailed, "the remote server does not let this server use the model"),
}


def sentence(text: str) -> str:
    """A remote's text without request id, paths and line breaks, at most 300 characters."""
    text = _REQUEST_ID.sub("", text[:_READ_CHARACTERS])
    words = "".join(c if c.isprintable() else " " for c in text).split()
    text = " ".join("..." if word[0] == "/" or word.count("/") > 1 else word for word in words)
    return text if len(text) <= _LIMIT_CHARACTERS else f"{text[:_LIMIT_CHARACTERS]}..."
