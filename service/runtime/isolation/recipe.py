"""What every process of one version is built from: its verified bytes, where nobody can change them any more.

The bytes lie in a sealed file in memory for as long as the version is loaded, so that a new process needs neither the
disk nor the server's word (promise M3).
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping

from service.core.errors import BadModel
from service.runtime.isolation.wire import MemoryFile
from service.runtime.providers import RunnerOptions
from service.runtime.trial_job import TrialJob


class Recipe:
    """A version, ready to be built again and again.

    Args:
        onnx: the model file.
        external: external data by location.
        options: of the runner; the device may be another for each instance.
        memory_bytes: that a process may take beside what an empty one does; None for what is free when it starts.

    Attributes:
        file: the sealed job; not closed before its last user is gone.
        memory_bytes: as given.
        size_bytes: of the files.

    Raises:
        BadModel: this system has no such processes.
        OSError: there is no memory for the bytes.
    """

    def __init__(
        self, onnx: bytes, external: Mapping[str, bytes], options: RunnerOptions, memory_bytes: int | None
    ) -> None:
        if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
            raise BadModel("'isolation' needs Linux and its pidfd_open, which are not to be had here")
        self.memory_bytes = memory_bytes
        self.size_bytes = len(onnx) + sum(map(len, external.values()))
        self.file = MemoryFile.new("retort-model")
        with open(self.file.descriptor, "wb", closefd=False) as file:
            TrialJob(onnx, external, (), options).write(file)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(self.file.descriptor, fcntl.F_ADD_SEALS, seals)
