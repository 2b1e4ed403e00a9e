"""What the real Triton runs: the version's ONNX file, by its Python backend. Loaded by tritonserver, never by us."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb  # type: ignore[import-not-found]


class TritonPythonModel:
    """The backend's own interface."""

    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more would spin for one another on a core that the server shares
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, ["CPUExecutionProvider"])
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feeds = {name: _text(pb.get_input_tensor_by_name(request, name).as_numpy()) for name in self.inputs}
        try:
            results = self.session.run(self.outputs, feeds)
        except Exception as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error)))
        return pb.InferenceResponse(
            [pb.Tensor(name, _octets(array)) for name, array in zip(self.outputs, results, strict=True)]
        )


def _text(array):
    if array.dtype != np.object_:
        return array
    return np.array([text.decode() for text in array.ravel()], dtype=object).reshape(array.shape)


def _octets(array):
    if array.dtype != np.object_:
        return array
    return np.array([text.encode() for text in array.ravel()], dtype=object).reshape(array.shape)
