"""The child of `trial`: `python -m service.runtime.trial_child MEMORY_BYTES DEADLINE_S PARENT_PID`.

Reads one job from its standard input, loads and runs it under a memory limit, and writes a line per stage and one
for the result. Says the same thing whoever asks: it trusts its parent and nothing that the model does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from service.core.confine import confine
from service.core.contract import Arrays, common_first_axis
from service.core.errors import BadInput, DoesNotFit, RetortError, RunFailed
from service.core.orphan import die_with
from service.core.synthetic import synthetic_feed
from service.runtime.failures import ran_out_of_memory
from service.runtime.onnx import OnnxRunner
from service.runtime.trial_job import read_job

Say = Callable[[dict[str, Any]], None]

_PROBE_ROWS = 2  # serving looks whether rows can share a run, even where the largest batch is one row


def main(arguments: Sequence[str]) -> None:
    """Limits this process, then tries what comes through standard input."""
    memory_bytes, deadline_s, parent_pid = (int(argument) for argument in arguments)
    die_with(parent_pid)  # or the alarm must do; `run_trial`'s thread waits for this process to the end
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
        axis = common_first_axis([*runner.inputs, *runner.outputs])
        for feed in job.feeds:
            _run_feed(runner, feed, axis, job.options.max_batch_size)
        _run_largest(runner, job.feeds, axis, max(_PROBE_ROWS, job.options.max_batch_size))
    except RetortError as error:
        if _for_want_of_memory(error):
            return {"out_of_memory": True}
        return {"reason": str(error)}
    return {"ok": True}


def _run_feed(runner: OnnxRunner, feed: Arrays, axis: str | None, most_rows: int) -> None:
    """Runs one feed, in batches no larger than serving forms; row by row where the version takes no more at a time."""
    counts = {array.shape[:1] for array in feed.values()}
    if axis is None or len(counts) != 1 or () in counts:
        runner.run(feed)
        return
    [(rows,)] = counts
    for start in range(0, rows, most_rows):
        try:
            runner.run({name: array[start : start + most_rows] for name, array in feed.items()})
        except (BadInput, RunFailed) as error:
            if most_rows == 1 or _for_want_of_memory(error):
                raise
            _run_feed(runner, feed, axis, 1)
            return


def _run_largest(runner: OnnxRunner, feeds: Sequence[Arrays], axis: str | None, rows: int) -> None:
    """Runs the largest batch, of the first feed's rows or of made-up ones.

    It is there for memory, time and crashes. A version may refuse it without blame: serving then gives it single rows.
    """
    if feeds and axis is None:
        return
    try:
        if feeds:
            runner.run({name: np.resize(array, (rows, *array.shape[1:])) for name, array in feeds[0].items()})
        else:
            runner.run(synthetic_feed(runner.inputs, rows, batch_axis=axis))
    except (BadInput, RunFailed) as error:
        if _for_want_of_memory(error):
            raise


def _for_want_of_memory(error: RetortError) -> bool:
    return isinstance(error, DoesNotFit) or ran_out_of_memory(error.__cause__)


def _take_over_stdout() -> Say:
    """Keeps standard output for ourselves; whatever a library prints goes where standard error goes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(message)}\n")
        answers.flush()

    return say


def _limit(memory_bytes: int, deadline_s: int) -> None:
    """Bounds memory and time; the alarm kills even a process whose parent is gone."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(deadline_s)
    confine(memory_bytes)


if __name__ == "__main__":
    main(sys.argv[1:])
