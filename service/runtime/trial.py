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
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from service.core.contract import Arrays
from service.core.errors import Stuck, Unavailable
from service.runtime import trial_process
from service.runtime.providers import Provider, RunnerOptions
from service.runtime.spare_threads import start_thread
from service.runtime.trial_job import TrialJob
from service.runtime.trial_process import TrialAhead, TrialLimits, TrialProcess

_MIB = 1 << 20
_LONGEST_ANSWER_BYTES = 1 << 16
_POLL_S = 0.2
_FEEDER_S = 1.0  # it ends with the reader of its pipe, which is dead


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Whether the version loaded and ran; else why not, as one sentence about "the trial", and whether time was up."""

    ok: bool
    reason: str = ""
    timed_out: bool = False


def run_trial(
    onnx: bytes,
    external: Mapping[str, bytes],
    feeds: Sequence[Arrays],
    options: RunnerOptions,
    limits: TrialLimits | None = None,
    cancel: threading.Event | None = None,
    ahead: TrialAhead | None = None,
) -> TrialResult:
    """Loads the version in a child process and runs `feeds` and the largest batch; blocks until it ended or was killed.

    Args:
        onnx: the model file.
        external: external data by location.
        feeds: inputs such as the golden cases, run in batches of at most `max_batch_size` rows, or row by row where
            a version takes no more; the largest batch repeats the first one's rows, or made-up ones without any.
        options: as the version will be served.
        limits: memory and time.
        cancel: set from another thread to give up; the child is then killed within about 0.2 s.
        ahead: a child that may wait already, under the same limits.

    Returns:
        The outcome. Never raises for what a model does.

    Raises:
        Stuck: cancelled.
        Unavailable: the system gives no more processes or threads now.
    """
    cancel = cancel or threading.Event()
    job = TrialJob(onnx, external, feeds, options)
    child = (ahead.take() if ahead is not None else None) or _start(limits or TrialLimits())
    process, limits = child.popen, child.limits
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes were asked for
    feeder = threading.Thread(target=_feed, args=(process.stdin, job), name="retort-trial", daemon=True)
    try:
        start_thread(feeder)
    except Unavailable:
        process.kill()
        process.communicate()
        raise
    timed_out = _wait(process, limits.timeout_s, cancel)
    feeder.join(_FEEDER_S)
    with process.stdout:
        os.set_blocking(process.stdout.fileno(), False)  # what it left behind may hold its pipes, and say nothing
        answer = process.stdout.read(_LONGEST_ANSWER_BYTES) or b""
    if cancel.is_set():
        raise Stuck("the trial was given up")
    if timed_out:
        return TrialResult(False, f"the trial was still {_read(answer)[0]} after {limits.timeout_s:g} s", True)
    return _judge(answer, process.returncode, limits, options.provider)


def _start(limits: TrialLimits) -> TrialProcess:
    try:
        return trial_process.start(limits)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise Unavailable(f"no process can be started to try the version in: {reason}; try again later") from None


def _feed(pipe: IO[bytes], job: TrialJob) -> None:
    """Streams the job without a second copy of it; a child that died early has closed its end."""
    with contextlib.suppress(BrokenPipeError), pipe:
        job.write(pipe)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, cancel: threading.Event) -> bool:
    """Waits for the end of the child, or kills it when the time is up or nobody wants it; says whether it did."""
    end_s = time.monotonic() + timeout_s
    try:
        while process.poll() is None and not cancel.is_set() and (left_s := end_s - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(_POLL_S, left_s))
        return process.poll() is None
    finally:
        process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its group is its own: what it started ends with it
        process.wait()


def _read(answer: bytes) -> tuple[str, object]:
    """The last stage and result; the child may be under the model's control, so whatever it wrote is data to doubt."""
    stage, result = "starting", None
    for line in answer.splitlines():
        with contextlib.suppress(ValueError, RecursionError):  # no JSON, or nested as no result is
            message = json.loads(line)
            if isinstance(message, dict):
                stage = str(message.get("stage", stage))[:20]
                result = message.get("result", result)
    return stage, result


def _judge(answer: bytes, returncode: int, limits: TrialLimits, provider: Provider) -> TrialResult:
    stage, result = _read(answer)
    if isinstance(result, dict):
        if result.get("ok") is True and returncode == 0:
            return TrialResult(True)
        if result.get("out_of_memory") is True:
            device = "" if provider == "cpu" else ", or than the device has free,"
            most = f"{limits.memory_bytes // _MIB} MiB{device}"
            return TrialResult(False, f"the trial needs more than {most} for {stage}")
        if "reason" in result:
            return TrialResult(False, f"the trial failed while {stage}: {str(result['reason'])[:500]}")
    return TrialResult(False, f"the trial {_ending(returncode)} while {stage}")


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    if -returncode == signal.SIGKILL:
        return "was killed by the system, most likely for want of memory,"
    return f"crashed with signal {-returncode}"
