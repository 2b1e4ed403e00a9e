"""The child of `trial`: `python -m service.runtime.trial_child MEMORY_BYTES DEADLINE_S`.

Reads one job from its standard input, loads and runs it under a memory limit, and writes a line per stage and one
for the result. Says the same thing whoever asks: it trusts its parent and nothing that the model does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from service.core.contract import Arrays, common_first_axis
from service.core.errors import BadInput, DoesNotFit, RetortError, RunFailed
from service.core.synthetic import synthetic_feed
from service.runtime.failures import ran_out_of_memory
from service.runtime.onnx import OnnxRunner
from service.runtime.trial_job import read_job

Say = Callable[[dict[str, Any]], None]


def main(arguments: Sequence[str]) -> None:
    """Limits this process, then tries what comes through standard input."""
    memory_bytes, deadline_s = (int(argument) for argument in arguments)
    say = _take_over_stdout()
    _limit(memory_bytes, deadline_s)
    try:
        say({"result": _try_out(sys.stdin.buffer, say)})
    except MemoryError:
        say({"result": {"out_of_memory": True}})


def _try_out(job_pipe: IO[bytes], say: Say) -> dict[str, Any]:
    say({"stage": "loading"})
    job = read_job(job_pipe)
    try:
        runner = OnnxRunner.load(job.onnx, job.external, job.options)
        say({"stage": "running"})
        for feed in job.feeds:
            runner.run(feed)
        _run_largest(runner, job.feeds, job.options.max_batch_size)
    except RetortError as error:
        if isinstance(error, DoesNotFit) or ran_out_of_memory(error.__cause__):
            return {"out_of_memory": True}
        return {"reason": str(error)}
    return {"ok": True}


def _run_largest(runner: OnnxRunner, feeds: Sequence[Arrays], max_rows: int) -> None:
    """Runs the largest batch: of the first feed's rows, or of made-up ones, which a model may refuse without blame."""
    axis = common_first_axis([*runner.inputs, *runner.outputs])
    if feeds and axis is not None:
        runner.run({name: np.resize(array, (max_rows, *array.shape[1:])) for name, array in feeds[0].items()})
    elif not feeds:
        try:
            runner.run(synthetic_feed(runner.inputs, max_rows, batch_axis=axis))
        except (BadInput, RunFailed) as error:
            if ran_out_of_memory(error.__cause__):
                raise


def _take_over_stdout() -> Say:
    """Keeps standard output for ourselves; whatever a library prints goes where standard error goes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(message)}\n")
        answers.flush()

    return say


def _limit(memory_bytes: int, deadline_s: int) -> None:
    """Bounds memory and time, leaves no core file, and goes first when the machine runs out of memory.

    RLIMIT_DATA counts private writable memory, so that the address space that CUDA and thread arenas only reserve is
    free. The alarm kills even a process whose parent is gone.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(deadline_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_bytes = _data_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return  # not Linux, or not allowed: the limit above still holds


def _data_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it; 0 where there is no /proc."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


if __name__ == "__main__":
    main(sys.argv[1:])
