"""What a model of a remote server is like: its tensors, and how many rows one run may have, as the remote says.

The batch axis is the first one where the remote's configuration has a `max_batch_size` above 0. A server without
configurations has a candidate where every tensor's first dimension is variable; whether it is one shows in the probe.
Sources: Open Inference Protocol v2, "Model Metadata"; Triton's model configuration extension.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc.service_pb2 import ModelConfigRequest, ModelMetadataRequest

from service.core.contract import DTYPES, TensorSpec
from service.core.errors import BadInput, BadModel, RunFailed
from service.runtime.triton_link import Link

DESCRIBE_TIMEOUT_S = 5.0
BATCH = "batch"
_TENSORS_LIMIT = 1024
_AXES_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote model is.

    Attributes:
        url: host:port.
        model: its name there.
        version: its version there; "" for what answers there.
        timeout_s: of one call.
    """

    url: str
    model: str
    version: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model of a remote server.

    Attributes:
        address: where it is.
        inputs: in the remote's order.
        outputs: in the remote's order; at least one.
        max_rows: of one run; None where the remote sets no limit.
    """

    address: Address
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_rows: int | None

    @property
    def digest(self) -> str:
        """A sha256, in hex, of where it is and what it takes and answers; its weights are the remote's secret."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def describe(address: Address, cancel: threading.Event | None = None) -> RemoteModel:
    """Asks the remote; blocks for 5 s at most, less where `timeout_s` is.

    Raises:
        BadModel: it cannot be served from here; says why.
        NotReady, Rejected, Stuck: the remote is not reachable, does not answer, or has no such model now.
    """
    link = Link(address.url)
    timeout_s = min(address.timeout_s, DESCRIBE_TIMEOUT_S)
    named = {"name": address.model, "version": address.version}
    try:
        metadata = link.call("ModelMetadata", ModelMetadataRequest(**named), timeout_s, cancel)
        most = _most_rows(link, ModelConfigRequest(**named), timeout_s, cancel)
    except (BadInput, RunFailed) as error:
        raise BadModel(f"the remote server does not say what its model is like: {error}") from error
    finally:
        link.close()
    tensors = [*metadata.inputs, *metadata.outputs]
    if len(tensors) > _TENSORS_LIMIT or any(len(tensor.shape) > _AXES_LIMIT for tensor in tensors):
        raise BadModel("the remote model has more tensors or axes than are served")
    batched = most > 0 if most is not None else True
    if not all(tensor.shape and tensor.shape[0] < 0 for tensor in tensors):
        batched = False
    inputs, outputs = _specs("input", metadata.inputs, batched), _specs("output", metadata.outputs, batched)
    if not outputs:
        raise BadModel("the remote model has no outputs, so there is nothing to answer")
    return RemoteModel(address, inputs, outputs, most or None)


def _most_rows(link: Link, request: Any, timeout_s: float, cancel: threading.Event | None) -> int | None:
    """The remote's `max_batch_size`; None where it has no configurations to ask for."""
    try:
        return int(link.call("ModelConfig", request, timeout_s, cancel).config.max_batch_size)
    except RunFailed:
        return None


def _specs(side: str, tensors: Iterable[Any], batched: bool) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(tensor.name, _datatype(side, tensor), _dims(tensor.shape, batched=batched)) for tensor in tensors
    )


def _dims(shape: Sequence[int], *, batched: bool) -> tuple[int | str | None, ...]:
    sizes: list[int | str | None] = [size if size >= 0 else None for size in shape]
    return (BATCH, *sizes[1:]) if batched else tuple(sizes)


def _datatype(side: str, tensor: Any) -> str:
    if tensor.datatype not in DTYPES:
        what = f"{side} '{tensor.name[:100]}' of the remote model is {tensor.datatype[:20]}"
        raise BadModel(f"{what}, which is not served")
    return str(tensor.datatype)
