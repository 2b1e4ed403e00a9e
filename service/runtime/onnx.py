"""Runs one version with ONNX Runtime, in this process. Knows nothing of batches, queues or files.

`run` costs about 1 us more than a bare `session.run` (measured with a 64 -> 10 network).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from service.core.contract import DTYPES, Array, Arrays, TensorSpec
from service.core.errors import BadInput, RunFailed, Stuck
from service.runtime import memory, strings
from service.runtime.failures import broke_the_arena, run_failure
from service.runtime.long_runs import LongRuns
from service.runtime.onnx_runtime import onnxruntime
from service.runtime.providers import Provider, RunnerOptions
from service.runtime.session import open_session
from service.runtime.signature import Signature, read_signature

_FATAL = 4
_BYTES = DTYPES["BYTES"]


def runtime_version() -> str:
    """The version of ONNX Runtime that computes the answers."""
    return str(onnxruntime.__version__)


class OnnxRunner:
    """A `Runner` over one ONNX Runtime session; built by `load`.

    Owned by whoever loaded it. `run` by one thread at a time; `stop` by any; `close` by the owner, once.

    Args:
        session: built already.
        signature: its inputs and outputs.
        provider: what it runs on.
        now_s: monotonic seconds.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        signature: Signature,
        provider: Provider,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now_s = now_s
        self._long_runs = LongRuns()
        self._session: onnxruntime.InferenceSession | None = session
        self._signature = signature
        self._provider = provider
        self._dtypes = {spec.name: spec.dtype for spec in signature.inputs}
        self._output_names = [spec.name for spec in signature.outputs]
        self._text_outputs = tuple(spec.name for spec in signature.outputs if spec.datatype == "BYTES")
        self._run_options = _run_options()

    @classmethod
    def load(
        cls,
        onnx: bytes,
        external: Mapping[str, bytes],
        options: RunnerOptions,
        cancel: threading.Event | None = None,
    ) -> OnnxRunner:
        """Builds a runner from bytes; blocks, for minutes where TensorRT builds engines.

        Args:
            onnx: the model file.
            external: external data by the `location` that the graph names it with; may be dropped afterwards.
            options: of the runner; `provider` decided already.
            cancel: set from another thread to give up; the load then ends within about 2 s.

        Raises:
            BadModel: the model cannot be loaded or served; ProviderMissing, with what to install.
            DoesNotFit: there is not enough memory.
            Stuck: cancelled.
        """
        try:
            session = open_session(onnx, external, options, cancel)
            signature = read_signature(session.get_inputs(), session.get_outputs())
        finally:
            memory.trim()  # of what parsing took: as much again as the weights
        return cls(session, signature, options.provider)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Every input without a default."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Every output that is a tensor; at least one."""
        return self._signature.outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are sequences, maps or optionals; never computed for a client."""
        return self._signature.omitted_outputs

    @property
    def provider(self) -> str:
        """What it runs on: "cpu", "cuda" or "tensorrt"."""
        return self._provider

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Computes every output; see `Runner.run`."""
        session, options = self._session, self._run_options
        if session is None:
            raise RunFailed("this version is closed")
        feeds = self._feeds(arrays)
        began_s = self._now_s()
        if self._long_runs.are_over(began_s):
            self._shrink_the_arena(session, feeds)
            began_s = self._now_s()
        try:
            results = session.run(self._output_names, feeds, options)
        except Exception as error:
            if broke_the_arena(error):  # also of a run that was stopped, whose session others use next
                self._shrink_the_arena(session, feeds)
            if options.terminate:
                raise Stuck("the run was stopped") from error
            raise run_failure(error) from error
        finally:
            ended_s = self._now_s()
            self._long_runs.note(ended_s - began_s, ended_s)
        outputs: dict[str, Array] = dict(zip(self._output_names, results, strict=True))
        for name in self._text_outputs:
            outputs[name] = strings.to_bytes(outputs[name])
        return outputs

    def stop(self) -> None:
        """Ends the run in flight between two operators; see `Runner.stop`.

        The next run takes options of its own, so a stop that comes too late hits nobody.
        """
        stopped, self._run_options = self._run_options, _run_options()
        stopped.terminate = True

    def close(self) -> None:
        """Gives the memory back, to the system too; blocks some milliseconds, so call it off the event loop."""
        self._session = None
        memory.trim()

    def _shrink_the_arena(self, session: onnxruntime.InferenceSession, feeds: Arrays) -> None:
        """Has ONNX Runtime give the memory back that it keeps between runs, and forget what it did not get.

        It keeps what the largest run took for as long as the session lives. And where an allocation failed, it asks for
        twice as much whatever comes next, until the number overflows: from then on every run that needs memory fails.
        Only a run changes that, at its end and also where it fails, as this one does: it is stopped before its first
        operator, so that it computes nothing and `stop` cannot reach it.
        """
        options = _run_options()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        options.terminate = True
        with suppress(Exception):  # that it was stopped, or of a session that has no arena
            session.run(self._output_names, feeds, options)

    def _feeds(self, arrays: Arrays) -> dict[str, Array]:
        """The arrays as ONNX Runtime wants them.

        Dtypes are checked here because it reads an array of the other byte order, or of `bytes`, as something else.
        """
        feeds: dict[str, Array] = {}
        for name, array in arrays.items():
            dtype = self._dtypes.get(name)
            if dtype is None:
                raise BadInput(f"there is no input '{name}'")
            if array.dtype != dtype:
                raise BadInput(f"input '{name}' is of dtype {array.dtype}, expected {dtype}")
            feeds[name] = strings.to_text(name, array) if dtype == _BYTES else array
        return feeds


def _run_options() -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.log_severity_level = _FATAL
    return options
