"""Makes a servable from a version's files: read, verify, try in a child process, build, examine, put behind a batcher.

Reading and building run on a thread of their own beside the event loop and can be given up after `load_timeout_s`.
Knows nothing of which version is active.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from service.batching.batch import PLAIN
from service.batching.batcher import Batcher
from service.batching.contract import Engine
from service.batching.padding import Padded
from service.core.clock import Clock
from service.core.errors import BadModel, Draining
from service.observe.statistics import VersionStatistics
from service.repository.layout import Source
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import Provider, RunnerOptions, choose_provider, options_for
from service.runtime.runner import Runner
from service.runtime.threads import intra_op_threads, usable_cores
from service.serving.batch_knobs import batch_config
from service.serving.declared import declare
from service.serving.digest import digest
from service.serving.equipment import cache_of, plan_of, sequencer_of
from service.serving.examine import Examined, examine
from service.serving.load_job import LoadJob
from service.serving.pulse import Pulse
from service.serving.room import check_fits
from service.serving.samples import run_samples
from service.serving.servable import Identity, Origins, Servable
from service.serving.stateful_runner import stateful
from service.serving.threads import stand_back

INLINE_LIMIT_S = 200e-6  # a hop to a thread and back costs about as much; the loop may stand still for 0.2 ms

Trial = Callable[[VersionFiles, RunnerOptions, threading.Event | None], None]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What every load has in common.

    Attributes:
        provider: for models whose model.yaml names none.
        threads: intra-op threads of an instance, None to share out the usable cores.
        load_timeout_s: after which a load is given up.
        run_timeout_s: after which a run is stopped.
        obstacles: why a provider is not to be had here, "" where nothing is in its way.
        cache_dir: for TensorRT engines; None keeps none.
        inline_limit_s: runs of steady versions quicker than this are done on the event loop; 0 for none.
    """

    provider: str
    threads: int | None
    load_timeout_s: float
    run_timeout_s: float
    obstacles: Mapping[Provider, str]
    cache_dir: Path | None = None
    inline_limit_s: float = INLINE_LIMIT_S


@dataclass(frozen=True, slots=True)
class _Built:
    """What the thread made; the rest of a servable belongs to the event loop."""

    identity: Identity
    runners: list[Runner]
    examined: Examined
    origins: Origins
    again: Callable[[int], Runner]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A version whose runners can be made.

    Attributes:
        make: the runner of that instance, while the version is loaded.
        again: the runner of that instance later, for one that had to be abandoned.
    """

    identity: Identity
    files: VersionFiles
    make: Callable[[int], Runner]
    again: Callable[[int], Runner]


class Loader:
    """Loads versions.

    Args:
        source: where files are read from.
        options: common to every load.
        trial: tries files in a child process where this machine never served them; raises BadModel.
        clock: of the batchers.
        on_fatal: called with one sentence when a batcher gives up for good.
    """

    def __init__(
        self, source: Source, options: LoadOptions, *, trial: Trial, clock: Clock, on_fatal: Callable[[str], None]
    ) -> None:
        self.clock = clock
        self._source = source
        self._options = options
        self._trial = trial
        self._on_fatal = on_fatal
        self._jobs: set[LoadJob[_Built | None]] = set()
        self._given_up = False

    def give_up(self) -> None:
        """Gives up every load that is under way, and begins no other: the server shuts down."""
        self._given_up = True
        for job in list(self._jobs):
            job.stop()

    async def load(
        self,
        model: str,
        version: str,
        config: ModelConfig,
        *,
        unless: Identity | None = None,
        statistics: VersionStatistics | None = None,
    ) -> Servable | None:
        """Loads one version.

        Args:
            model: its name.
            version: its id.
            config: model.yaml as read.
            unless: the identity of what serves already; None is returned when the files are still the same.
            statistics: what counts its requests from now on; None for new ones.

        Raises:
            NotFound, BadModel, ProviderMissing, DoesNotFit: it cannot be served.
            Refused: the golden cases do not hold.
            Stuck: it took longer than `load_timeout_s`.
            Draining: the server shuts down.
        """
        if self._given_up:
            raise Draining(f"version '{version}' of model '{model}' is not loaded: the server is shutting down")

        counts = statistics or VersionStatistics(model, version)
        opening = self._opening(config, counts)

        def work(job: LoadJob[_Built | None]) -> _Built | None:
            began_s = time.perf_counter()
            opened = opening(self._files(model, version, config), job.cancel)
            if opened.identity == unless and config.runner is None:  # a remote's weights nobody here can compare
                return None
            check_fits(opened.files, config.instances)
            runners = [job.keep(opened.make(instance)) for instance in range(config.instances)]
            loaded_s = time.perf_counter()
            stand_back()  # what follows computes as hard as serving does
            examined = examine(opened.files, opened.identity.config, runners)
            most_rows = opened.identity.config.max_batch_size if examined.signature.batch_axis is not None else None
            run_samples(config.warmup_samples, runners, most_rows, job.cancel)
            load_ms, warm_ms = (loaded_s - began_s) * 1e3, (time.perf_counter() - loaded_s) * 1e3
            origins = Origins(opened.files.golden, load_ms, warm_ms)
            return _Built(opened.identity, runners, examined, origins, opened.again)

        job = LoadJob(f"version '{version}' of model '{model}'", work)
        self._jobs.add(job)
        try:
            built = await job.within(self._options.load_timeout_s)
        finally:
            self._jobs.discard(job)
        return self._assemble(built, counts) if built is not None else None

    def _opening(
        self, config: ModelConfig, statistics: VersionStatistics
    ) -> Callable[[VersionFiles, threading.Event], _Opened]:
        """What turns a version's files into runners, on the load's thread: here, or on another server."""
        if config.runner is None:
            return lambda files, cancel: self._open_here(files, config, cancel)
        # Only now: it imports gRPC.
        from service.serving.remote import counting, open_remote  # noqa: PLC0415

        remote, on_retry = config.runner.triton, counting(statistics)

        def there(files: VersionFiles, cancel: threading.Event) -> _Opened:
            identity, make = open_remote(files, config, remote, cancel, on_retry)

            def runner(_instance: int) -> Runner:
                made = declare(make(), identity.config, _where(files), has_golden=files.golden is not None)
                return stateful(made, identity.config, _where(files))

            return _Opened(identity, files, runner, runner)

        return there

    def _open_here(self, files: VersionFiles, config: ModelConfig, cancel: threading.Event) -> _Opened:
        identity = _identity(files, config)

        def make(instance: int) -> Runner:
            if self._runner_options(config).threads == 1:
                stand_back()  # at once: the session starts no threads that would inherit it
            return self._runner(files, config, cancel, instance)

        return _Opened(identity, files, make, lambda instance: self._replacement(identity, instance))

    def _assemble(self, built: _Built, statistics: VersionStatistics) -> Servable:
        identity, examined = built.identity, built.examined
        pads = examined.padding.pads
        pulse = Pulse(statistics, self.clock)

        places: dict[Engine, int] = {runner: place for place, runner in enumerate(built.runners)}

        def replace(lost: Engine) -> Runner:
            runner = built.again(places[lost])  # where that was: on the same accelerator
            places[runner] = places[lost]
            built.runners.append(runner)  # closed with the others
            return runner

        plan = plan_of(built.runners)
        steady = examined.steady and (plan is None or (plan.batched and plan.fixed))
        inline_limit_s = self._options.inline_limit_s if steady else 0.0
        batcher = Batcher(
            built.runners,
            batch_config(identity.config, mixes=examined.batchability.mixes, inline_limit_s=inline_limit_s),
            examined.curve,
            clock=self.clock,
            observer=pulse,
            replace=replace,
            on_fatal=self._on_fatal,
            run_timeout_s=self._options.run_timeout_s,
            stacking=Padded(pads) if pads is not None else PLAIN,
        )
        size = identity.card.size if identity.card is not None else None
        statistics.memory_bytes = (size.resident_bytes if size is not None else None) or identity.bytes_total
        statistics.load_s = (built.origins.load_ms + built.origins.warm_ms) / 1e3
        batcher.start()
        sequencer = sequencer_of(identity.model, identity.config, plan, statistics, self.clock)
        cache = cache_of(identity.config, examined, statistics)
        parts = (identity, examined, built.origins, built.runners, batcher, statistics, pulse)
        return Servable(*parts, sequencer=sequencer, cache=cache)

    def _files(self, model: str, version: str, config: ModelConfig) -> VersionFiles:
        return self._source.read_version(model, version, config.onnx_file if config.runner is None else None)

    def _runner(self, files: VersionFiles, config: ModelConfig, cancel: threading.Event, instance: int = 0) -> Runner:
        options = self._runner_options(config, instance)
        stateful_only = config.sequences is not None  # its golden cases are the client's, and the trial runs the graph
        self._trial(replace(files, golden=None) if stateful_only else files, options, cancel)
        runner = OnnxRunner.load(files.onnx, files.external, options, cancel)
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

    def _replacement(self, identity: Identity, instance: int = 0) -> Runner:
        """A runner of the same version, for one that had to be abandoned."""
        files = self._files(identity.model, identity.version, identity.config)
        if digest(files) != identity.digest:
            raise BadModel(f"version '{identity.version}' of model '{identity.model}' changed on disk since its load")
        cancel = threading.Event()
        limit = threading.Timer(self._options.load_timeout_s, cancel.set)
        limit.daemon = True
        limit.start()
        try:
            return self._runner(files, identity.config, cancel, instance)
        finally:
            limit.cancel()


def _where(files: VersionFiles) -> str:
    return f"version '{files.version}' of model '{files.model}'"


def _identity(files: VersionFiles, config: ModelConfig) -> Identity:
    return Identity(files.model, files.version, digest(files), files.bytes_total, files.disk_bytes, files.card, config)
