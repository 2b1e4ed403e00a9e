"""A remote server of the protocol for tests: real gRPC on a free port, ONNX Runtime behind it, and faults on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(int64)": "INT64",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
}
Act = Callable[[Any, Any], Any]  # request, context -> answer; None lets the model answer


class Remote(service_pb2_grpc.GRPCInferenceServiceServicer):
    """One model on a server that can be stopped and started again on the same port.

    Args:
        onnx: what computes.
        max_batch_size: as its configuration says; None for a server without configurations.

    Attributes:
        act: what becomes of the next inferences; None for the model's own answers.
        rows: rows of every inference asked for, in turn.
        held: set while an inference hangs; `release` lets it go on.
    """

    def __init__(self, onnx: bytes, *, max_batch_size: int | None = 8, name: str = "m") -> None:
        self.session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        self.name = name
        self.max_batch_size = max_batch_size
        self.act: Act | None = None
        self.rows: list[int] = []
        self.described = 0
        self.tweak: Callable[[Any], None] = lambda metadata: None
        self.held = threading.Event()
        self.cancelled = threading.Event()
        self.release = threading.Event()
        self.port = 0
        self._server: grpc.Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """On the port that it had before, if any."""
        server = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Ends every connection; calls in flight end too."""
        self.release.set()
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fails(self, code: grpc.StatusCode, details: str = "") -> None:
        """Every inference ends with `code` from now on."""
        self.act = lambda _request, context: context.abort(code, details)

    def hangs(self) -> None:
        """Every inference waits for `release` from now on."""

        def hang(_request: Any, context: Any) -> None:
            context.add_callback(self.cancelled.set)
            self.held.set()
            self.release.wait(60)

        self.act = hang

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        self.described += 1
        if request.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        metadata = pb.ModelMetadataResponse(name=self.name, versions=["1"], platform="onnxruntime_onnx")
        for tensors, nodes in (
            (metadata.inputs, self.session.get_inputs()),
            (metadata.outputs, self.session.get_outputs()),
        ):
            for node in nodes:
                shape = [size if isinstance(size, int) else -1 for size in node.shape]
                tensors.add(name=node.name, datatype=DATATYPES[node.type], shape=shape)
        self.tweak(metadata)
        return metadata

    def ModelConfig(self, request: Any, context: Any) -> Any:
        if self.max_batch_size is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        answer = pb.ModelConfigResponse()
        answer.config.name = self.name
        answer.config.max_batch_size = self.max_batch_size
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:
        answer = self.act(request, context) if self.act is not None else None
        return answer if answer is not None else self.infer(request)

    def infer(self, request: Any) -> Any:
        """What the model answers."""
        feeds = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            flat = deserialize_bytes_tensor(raw) if tensor.datatype == "BYTES" else None
            if flat is None:
                flat = np.frombuffer(raw, triton_to_np_dtype(tensor.datatype))
            else:
                flat = np.array([text.decode() for text in flat], dtype=object)
            feeds[tensor.name] = flat.reshape(tuple(tensor.shape))
        self.rows.append(int(request.inputs[0].shape[0]) if request.inputs[0].shape else 0)
        names = [output.name for output in request.outputs]
        answer = pb.ModelInferResponse(model_name=self.name, model_version="1")
        for name, array in zip(names, self.session.run(names, feeds), strict=True):
            kind = next(node.type for node in self.session.get_outputs() if node.name == name)
            answer.outputs.add(name=name, datatype=DATATYPES[kind], shape=array.shape)
            texts = serialize_byte_tensor(array).item() if kind == "tensor(string)" and array.size else None
            answer.raw_output_contents.append(array.tobytes() if texts is None else texts)
        return answer
