"""A bare grpc.aio server, `python -m tests.bench.grpc_echo`: what a call costs in Python that does nothing.

Its method is looked up by its name, which is grpc.aio's quicker way, and reads no message.
"""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import uvloop
from tritonclient.grpc import service_pb2

from tests.bench.grpc_load import METHOD, SERVICE

ANSWER = service_pb2.ModelInferResponse(
    model_name="tiny",
    model_version="1",
    outputs=[service_pb2.ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=[1, 10])],
    raw_output_contents=[np.zeros(10, np.float32).tobytes()],
).SerializeToString()


async def answer(_message: bytes, _context: Any) -> bytes:
    """The same to everyone."""
    return ANSWER


async def main() -> None:
    """Serves on a free port, and says which."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready: http://127.0.0.1:{port}, grpc 127.0.0.1:{port}", flush=True)  # noqa: T201
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
