"""Runs a version on a remote server of the Open Inference Protocol, over gRPC, in the thread that calls.

Synchronous on purpose: a runner has a thread of its own, and `stop` cancels the call that it waits for. Knows nothing
of batches, queues or files.
"""

from __future__ import annotations

from collections.abc import Callable

from service.core.contract import Array, Arrays, TensorSpec
from service.runtime.triton_link import Link
from service.runtime.triton_model import RemoteModel
from service.runtime.triton_tensors import decode, encode

REMOTE = "remote"


class TritonRunner:
    """A `Runner` over a model of a remote server.

    Owned by whoever made it. `run` by one thread at a time; `stop` by any; `close` by the owner, once.

    Args:
        model: as `describe` found it.
        on_retry: called, on the runner's thread, when a call is made a second time because the connection broke.
    """

    def __init__(self, model: RemoteModel, on_retry: Callable[[], None] = lambda: None) -> None:
        self._model = model
        self._link = Link(model.address.url, on_retry)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Every input of the remote model."""
        return self._model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Every output of the remote model."""
        return self._model.outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """None: the protocol knows tensors only."""
        return ()

    @property
    def provider(self) -> str:
        """What it runs on: "remote"."""
        return REMOTE

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Computes every output; see `Runner.run`.

        Raises:
            NotReady: the remote is not reachable, or has no such model now.
            Rejected: the remote has no room for the request.
            Stuck: no answer within the address' `timeout_s`, or stopped.
            BadInput: the remote refuses the arrays.
            RunFailed: the remote failed, or its answer is not what its metadata says.
        """
        model, address = self._model, self._model.address
        request = encode(address.model, address.version, model.inputs, model.outputs, arrays)
        return decode(self._link.call("ModelInfer", request, address.timeout_s), model.outputs)

    def stop(self) -> None:
        """Cancels the call in flight; see `Runner.stop`."""
        self._link.stop()

    def close(self) -> None:
        """Gives the connection back."""
        self._link.close()
