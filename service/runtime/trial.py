"""Loads and runs a version that was never served on this machine in a process that may die of it (promise M5).

A 66-byte graph can ask for 80 GB and a parser can crash: here that costs a child process, and the server gets a
sentence. The child gets the same bytes that will be served, through a pipe. Knows nothing of who passed before
(`trial_memory`), nor whether the answers are right.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from service.core.contract import Arrays
from service.runtime import memory
from service.runtime.providers import RunnerOptions
from service.runtime.trial_job import TrialJob

_MIB = 1 << 20
_ROOT = Path(__file__).parents[2]
_LONGEST_ANSWER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a trial may take.

    Attributes:
        memory_bytes: on top of what Python and ONNX Runtime hold before the model is read, about 150 MiB; never more
            than the machine has left. The stack of each thread counts 8 MiB.
        timeout_s: from the start of the process to its answer.
    """

    memory_bytes: int = 4096 * _MIB
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Whether the version loaded and ran; else why not, as one sentence about "the trial"."""

    ok: bool
    reason: str = ""


def run_trial(
    onnx: bytes,
    external: Mapping[str, bytes],
    feeds: Sequence[Arrays],
    options: RunnerOptions,
    limits: TrialLimits | None = None,
) -> TrialResult:
    """Loads the version in a child process and runs `feeds` and the largest batch; blocks until it ended or was killed.

    Args:
        onnx: the model file.
        external: external data by location.
        feeds: inputs for one run each, such as the golden cases; the largest batch repeats the first one's rows, or
            made-up ones where there is none.
        options: as the version will be served.
        limits: memory and time.

    Returns:
        The outcome. Never raises for what a model does.
    """
    limits = limits or TrialLimits()
    limits = replace(limits, memory_bytes=min(limits.memory_bytes, memory.available_bytes()))
    job = TrialJob(onnx, external, feeds, options)
    process = _start(limits)
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
    feeder = threading.Thread(target=_feed, args=(process.stdin, job), name="retort-trial", daemon=True)
    feeder.start()
    timed_out = _wait(process, limits.timeout_s)
    feeder.join()
    with process.stdout:
        answer = process.stdout.read(_LONGEST_ANSWER_BYTES)
    return _judge(answer, process.returncode, timed_out, limits)


def _start(limits: TrialLimits) -> subprocess.Popen[bytes]:
    """The child; -P and PYTHONPATH, so that it imports this very package and nothing from the working directory."""
    deadline_s = int(limits.timeout_s) + 5  # the child's own alarm, should this process die before it
    return subprocess.Popen(  # noqa: S603 - this very interpreter, and two numbers
        [sys.executable, "-P", "-m", "service.runtime.trial_child", str(limits.memory_bytes), str(deadline_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        start_new_session=True,  # a Ctrl-C in the terminal is for the server
    )


def _feed(pipe: IO[bytes], job: TrialJob) -> None:
    """Streams the job without a second copy of it; a child that died early has closed its end."""
    with contextlib.suppress(BrokenPipeError), pipe:
        job.write(pipe)


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Waits for the end of the child, brings it about when the time is up, and says whether that was needed."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return True
    finally:
        process.kill()
        process.wait()
    return False


def _judge(answer: bytes, returncode: int, timed_out: bool, limits: TrialLimits) -> TrialResult:
    """The child may be under the model's control by now: whatever it wrote is data to doubt."""
    stage, result = "starting", None
    for line in answer.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                stage = str(message.get("stage", stage))[:20]
                result = message.get("result", result)
    if timed_out:
        return TrialResult(False, f"the trial was still {stage} after {limits.timeout_s:g} s")
    if isinstance(result, dict):
        if result.get("ok") is True and returncode == 0:
            return TrialResult(True)
        if result.get("out_of_memory") is True:
            return TrialResult(False, f"the trial needs more than {limits.memory_bytes // _MIB} MiB for {stage}")
        if "reason" in result:
            return TrialResult(False, f"the trial failed while {stage}: {str(result['reason'])[:500]}")
    return TrialResult(False, f"the trial {_ending(returncode)} while {stage}")


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    if -returncode == signal.SIGKILL:
        return "was killed by the system, most likely for want of memory,"
    return f"crashed with signal {-returncode}"
