"""An inference over gRPC as tracing sees it. Source: OpenTelemetry's semantic conventions for gRPC spans."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from service.gateway.grpc.calls import Call
from service.gateway.problems import call_problem_of
from service.observe.tracing import Arrival, Tracing

_SERVICE = "inference.GRPCInferenceService"
# The codes that speak of a server's error; the others are the client's affair.
_OURS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


@contextmanager
def followed(tracing: Tracing, call: Call, model: str, method: str) -> Iterator[None]:
    """Follows what is done inside, if the settings say so; the call's answer then carries its trace."""
    attributes = {"rpc.system": "grpc", "rpc.service": _SERVICE, "rpc.method": method, "client.address": call.origin}
    trace = tracing.begin(Arrival(f"{_SERVICE}/{method}", model, call.id, call.metadata, attributes))
    if trace is None:
        yield
        return
    call.trailing = tuple(trace.headers.items())
    code = "OK"
    try:
        yield
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except Exception as error:
        code = call_problem_of(error, call.id).code
        trace.failed(error)
        raise
    finally:
        trace.end({"rpc.grpc.status_code": grpc.StatusCode[code].value[0]}, ok=code not in _OURS)
