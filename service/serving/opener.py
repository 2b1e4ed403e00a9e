"""Makes runners of a version's files: in this process, in processes of its own, or on another server.

Called on the threads of loads and of replacements. Knows nothing of batches, nor of what answers them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.core.clock import Clock
from service.core.errors import BadModel
from service.observe.statistics import VersionStatistics
from service.repository.layout import Source
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions, choose_provider, options_for
from service.runtime.runner import Runner
from service.runtime.spare_threads import start_thread
from service.runtime.threads import intra_op_threads, usable_cores
from service.serving.declared import declare
from service.serving.digest import digest
from service.serving.isolated import Cell, Cells
from service.serving.load_options import LoadOptions, Trial
from service.serving.servable import Identity
from service.serving.stateful_runner import stateful
from service.serving.threads import stand_back

Build = Callable[[VersionFiles, RunnerOptions, threading.Event], Runner]


@dataclass(frozen=True, slots=True)
class Opened:
    """A version whose runners can be made.

    Attributes:
        make: the runner of that instance, while the version is loaded.
        again: the runner of that instance later, for one that had to be abandoned.
        cell: its processes, where it has some of its own.
    """

    identity: Identity
    files: VersionFiles
    make: Callable[[int], Runner]
    again: Callable[[int], Runner]
    cell: Cell | None = None


class Opener:
    """Opens versions.

    Args:
        source: where files are read from.
        options: common to every load.
        trial: tries files in a child process where this machine never served them; raises BadModel.
        clock: of the runners.
        report: told when a version's process died.
    """

    def __init__(
        self, source: Source, options: LoadOptions, trial: Trial, clock: Clock, report: Callable[[str], None]
    ) -> None:
        self._source = source
        self._options = options
        self._trial = trial
        self._cells = Cells(clock, options.load_timeout_s, report)

    def files(self, model: str, version: str, config: ModelConfig) -> VersionFiles:
        """Reads and verifies a version's files; blocks. Raises NotFound, BadModel."""
        return self._source.read_version(model, version, config.onnx_file if config.runner is None else None)

    def opening(
        self, config: ModelConfig, statistics: VersionStatistics
    ) -> Callable[[VersionFiles, threading.Event], Opened]:
        """What turns a version's files into runners, on the load's thread; called on the event loop."""
        if config.runner is None:
            return lambda files, cancel: self._open_here(files, config, cancel)
        # Only now: it imports gRPC.
        from service.serving.remote import counting, open_remote  # noqa: PLC0415

        remote, on_retry = config.runner.triton, counting(statistics)

        def there(files: VersionFiles, cancel: threading.Event) -> Opened:
            identity, make = open_remote(files, config, remote, cancel, on_retry)

            def runner(_instance: int) -> Runner:
                made = declare(make(), identity.config, _where(files), has_golden=files.golden is not None)
                return stateful(made, identity.config, _where(files))

            return Opened(identity, files, runner, runner)

        return there

    def _open_here(self, files: VersionFiles, config: ModelConfig, cancel: threading.Event) -> Opened:
        identity = _identity(files, config)
        own = config.isolation.process if config.isolation is not None else None
        cell = self._cells.cell(own, files.model, files.version) if own is not None else None
        build = cell.build if cell is not None else _build_here

        def make(instance: int) -> Runner:
            if cell is None and self._runner_options(config).threads == 1:
                stand_back()  # at once: the session starts no threads that would inherit it
            return self._runner(files, config, cancel, instance, build)

        def again(instance: int) -> Runner:
            return self._replacement(identity, instance, build)

        return Opened(identity, files, make, again, cell)

    def _runner(
        self, files: VersionFiles, config: ModelConfig, cancel: threading.Event, instance: int, build: Build
    ) -> Runner:
        options = self._runner_options(config, instance)
        stateful_only = config.sequences is not None  # its golden cases are the client's, and the trial runs the graph
        self._trial(replace(files, golden=None) if stateful_only else files, options, cancel)
        runner = build(files, options, cancel)
        where = _where(files)
        return stateful(declare(runner, config, where, has_golden=files.golden is not None), config, where)

    def _runner_options(self, config: ModelConfig, instance: int = 0) -> RunnerOptions:
        choice = choose_provider(config.provider or self._options.provider, self._options.obstacles)
        accelerator = {} if choice.provider == "cpu" else options_for(choice.provider, config.accelerator_options)
        return RunnerOptions(
            provider=choice.provider,
            threads=intra_op_threads(config.threads or self._options.threads, config.instances, usable_cores()),
            max_batch_size=config.max_batch_size,
            cache_dir=self._options.cache_dir,
            provider_options=accelerator | config.provider_options,
            device_id=config.devices[instance % len(config.devices)] if config.devices else 0,
            session=config.session.model_dump(exclude_defaults=True),
        )

    def _replacement(self, identity: Identity, instance: int, build: Build) -> Runner:
        """A runner of the same version, for one that had to be abandoned."""
        files = self.files(identity.model, identity.version, identity.config)
        if digest(files) != identity.digest:
            raise BadModel(f"version '{identity.version}' of model '{identity.model}' changed on disk since its load")
        cancel = threading.Event()
        limit = threading.Timer(self._options.load_timeout_s, cancel.set)
        limit.daemon = True
        start_thread(limit)
        try:
            return self._runner(files, identity.config, cancel, instance, build)
        finally:
            limit.cancel()


def _build_here(files: VersionFiles, options: RunnerOptions, cancel: threading.Event) -> Runner:
    """The graph's runner, in this process."""
    return OnnxRunner.load(files.onnx, files.external, options, cancel)


def _where(files: VersionFiles) -> str:
    return f"version '{files.version}' of model '{files.model}'"


def _identity(files: VersionFiles, config: ModelConfig) -> Identity:
    return Identity(files.model, files.version, digest(files), files.bytes_total, files.disk_bytes, files.card, config)
