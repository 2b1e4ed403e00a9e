"""Sees to it that a file never served on this machine is first loaded and run in a child process (promise M5).

What passed is remembered by hash, runtime version, provider and what the configuration changes of a session, so that a
restart does not pay for it again.
"""

from __future__ import annotations

import hashlib
import json
import threading

from service.core.errors import BadModel
from service.repository.store import VersionFiles
from service.runtime.onnx import runtime_version
from service.runtime.providers import RunnerOptions
from service.runtime.trial import run_trial
from service.runtime.trial_memory import TrialMemory
from service.runtime.trial_process import TrialAhead, TrialLimits
from service.serving.digest import digest

_SLOW_ENGINES = "; TensorRT can build engines for minutes: raise RETORT_LOAD_TIMEOUT_S"


class FirstTrial:
    """Tries each version once.

    Args:
        memory: what passed before.
        limits: memory and time of the child process.
        ahead: a child process under these limits that may wait already.
    """

    def __init__(self, memory: TrialMemory, limits: TrialLimits, ahead: TrialAhead | None = None) -> None:
        self._memory = memory
        self._limits = limits
        self._ahead = ahead

    def __call__(self, files: VersionFiles, options: RunnerOptions, cancel: threading.Event | None = None) -> None:
        """Blocks while the child runs; returns at once for what passed before.

        Raises:
            BadModel: the version cannot be served here; says at which stage, and why.
            Stuck: `cancel` was set, from another thread, and the child killed.
        """
        key = (digest(files), runtime_version(), _setting(options))
        if self._memory.passed(*key):
            return
        feeds = [files.golden.inputs] if files.golden is not None else []
        result = run_trial(files.onnx, files.external, feeds, options, self._limits, cancel, self._ahead)
        if not result.ok:
            advice = _SLOW_ENGINES if result.timed_out and options.provider == "tensorrt" else ""
            where = f"version '{files.version}' of model '{files.model}'"
            raise BadModel(f"{where} cannot be served: {result.reason}{advice}")
        self._memory.remember(*key)


def _setting(options: RunnerOptions) -> str:
    """The provider, and a mark of all that makes ONNX Runtime take another path through a file than it usually does."""
    changed = [dict(options.session), dict(options.provider_options)]
    if not any(changed):
        return options.provider
    return f"{options.provider}+{hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:16]}"


def no_trial(_files: VersionFiles, _options: RunnerOptions, _cancel: threading.Event | None = None) -> None:
    """For an operator who trusts every file: nothing is tried."""
