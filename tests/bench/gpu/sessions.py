"""Sessions on a device as the server builds them, but for the option that records their runs."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from service.runtime.devices import find_obstacles
from service.runtime.providers import ORT_NAMES, Provider, RunnerOptions, provider_list
from service.runtime.signature import read_signature
from tests.bench.gpu.ways import GRAPH_OPTIONS

DEVICES = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda"}  # as ONNX Runtime names where their tensors lie


class NotThere(RuntimeError):
    """The provider cannot be had here."""


def demand(provider: Provider) -> None:
    """Raises NotThere with the reason where the provider does not work here."""
    obstacle = find_obstacles()[provider]
    if obstacle:
        raise NotThere(f"the {provider} provider cannot be had here: {obstacle}")


def session_of(
    onnx: bytes, provider: Provider, most_rows: int, engines: Path | None = None, *, recorded: bool = False
) -> onnxruntime.InferenceSession:
    """A session on one device.

    Args:
        onnx: the file.
        provider: "cpu" is there for trials of the bench itself.
        most_rows: of a batch, for TensorRT.
        engines: where TensorRT keeps what it builds.
        recorded: whether its runs are to be recorded as a CUDA graph.

    Raises:
        NotThere: ONNX Runtime fell back to another provider, or this one records nothing.
    """
    inputs = ()
    if provider == "tensorrt":
        look = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        inputs = read_signature(look.get_inputs(), look.get_outputs()).inputs
    chain = provider_list(RunnerOptions(provider, max_batch_size=most_rows), inputs, engines)
    if recorded:
        if provider not in GRAPH_OPTIONS:
            raise NotThere(f"nothing is recorded on {provider}")
        chain[0][1][GRAPH_OPTIONS[provider]] = "1"
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx, settings, providers=chain, enable_fallback=0)
    if ORT_NAMES[provider] not in session.get_providers():
        raise NotThere(f"ONNX Runtime could not start the {provider} provider and fell back to the CPU")
    return session
