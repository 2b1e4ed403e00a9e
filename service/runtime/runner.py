"""What serving needs of whatever computes a version's answers, here or on another machine.

A runner takes whole batches, one run at a time; it neither queues nor batches.
"""

from __future__ import annotations

from typing import Protocol

from service.core.contract import Array, Arrays, TensorSpec


class Runner(Protocol):
    """One loaded version, ready to run."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` must be given: every input without a default."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` answers; at least one."""
        ...

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are no tensors (sequences, maps) and are therefore never answered."""
        ...

    @property
    def provider(self) -> str:
        """What it runs on: "cpu", "cuda", "tensorrt" or "remote"."""
        ...

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Computes every output; blocks. Called by one thread at a time.

        Args:
            arrays: input name -> array of that input's dtype, of any memory layout; BYTES are object arrays of `bytes`.

        Raises:
            BadInput: the arrays do not fit the version.
            RunFailed: the version failed on them.
            Stuck: `stop` ended this run.
        """
        ...

    def stop(self) -> None:
        """Asks the run in flight to end between two operators; without one, does nothing. Callable from any thread."""
        ...

    def close(self) -> None:
        """Gives the memory back; blocks for some milliseconds. A run in flight ends first by itself."""
        ...
