"""A closed loop over gRPC, `python -m tests.bench.grpc_load PORT CALLS SECONDS`: so many calls at once on one channel.

Prints that the server is known, waits for a line, and prints the number of answers. A client in Python may be slower
than the server, so it says what a call costs the server, and not how many there may be.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from tests.bench.tiny import rows

SERVICE, METHOD = "inference.GRPCInferenceService", "ModelInfer"
_PATIENCE_S = 30.0


def message() -> bytes:
    """A request of one row."""
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 64])
    asked = service_pb2.ModelInferRequest(model_name="tiny", inputs=[tensor], raw_input_contents=[rows(1).tobytes()])
    return bytes(asked.SerializeToString())


class Loop:
    """One call at a time, until then on the clock of `time.monotonic`.

    Attributes:
        answers: so far.
        ended: set when the last one is there.
        error: what ended it before its time.
    """

    def __init__(self, call: Any, asked: bytes, until_s: float) -> None:
        self.answers = 0
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._call = call
        self._asked = asked
        self._until_s = until_s

    def ask(self) -> None:
        """Asks once more."""
        self._call.future(self._asked).add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        self.error = future.exception()
        if self.error is None:
            self.answers += 1
            if time.monotonic() < self._until_s:
                self.ask()
                return
        self.ended.set()


def load(port: int, calls: int, seconds: float) -> int:
    """How many answers come in that time.

    Raises:
        grpc.RpcError: an answer was none.
    """
    asked = message()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        call(asked, wait_for_ready=True, timeout=_PATIENCE_S)
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        loops = [Loop(call, asked, time.monotonic() + seconds) for _ in range(calls)]
        for one in loops:
            one.ask()
        for one in loops:
            one.ended.wait(seconds + _PATIENCE_S)
            if one.error is not None:
                raise one.error
    return sum(one.answers for one in loops)


def main() -> None:
    """Asks as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.grpc_load", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("calls", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    print(load(options.port, options.calls, options.seconds), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
