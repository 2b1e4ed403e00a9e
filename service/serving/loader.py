"""Makes a servable from a version's files: read, verify, try in a child process, build, examine, put behind a batcher.

Reading and building run on a thread of their own beside the event loop and can be given up after `load_timeout_s`.
Knows nothing of which version is active.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.batching.batch import PLAIN
from service.batching.batcher import Batcher
from service.batching.contract import Engine
from service.batching.padding import Padded
from service.core.clock import Clock
from service.core.errors import Draining, Unavailable
from service.observe.statistics import VersionStatistics
from service.repository.layout import Source
from service.repository.model_config import ModelConfig
from service.runtime.runner import Runner
from service.serving.batch_knobs import batch_config
from service.serving.closing import close_runners
from service.serving.equipment import cache_of, note_load, plan_of, sequencer_of
from service.serving.examine import Examined, examine
from service.serving.load_job import LoadJob
from service.serving.load_options import LoadOptions, Trial
from service.serving.opener import Opener
from service.serving.pulse import Pulse
from service.serving.room import check_fits
from service.serving.samples import run_samples
from service.serving.servable import Identity, Origins, Servable
from service.serving.threads import stand_back


@dataclass(frozen=True, slots=True)
class _Built:
    """What the thread made; the rest of a servable belongs to the event loop."""

    identity: Identity
    runners: list[Runner]
    examined: Examined
    origins: Origins
    again: Callable[[int], Runner]


class Loader:
    """Loads versions.

    Args:
        source: where files are read from.
        options: common to every load.
        trial: tries files in a child process where this machine never served them; raises BadModel.
        clock: of the batchers.
        report: called with one sentence when a version's process died.
        on_fatal: called with one sentence when a batcher gives up for good.
    """

    def __init__(
        self,
        source: Source,
        options: LoadOptions,
        *,
        trial: Trial,
        clock: Clock,
        report: Callable[[str], None],
        on_fatal: Callable[[str], None],
    ) -> None:
        self.clock = clock
        self._options = options
        self._opener = Opener(source, options, trial, clock, report)
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
        opening = self._opener.opening(config, counts)

        def work(job: LoadJob[_Built | None]) -> _Built | None:
            began_s = time.perf_counter()
            opened = opening(self._opener.files(model, version, config), job.cancel)
            if opened.identity == unless and config.runner is None:  # a remote's weights nobody here can compare
                return None
            check_fits(opened.files, opened.cell.copies(config.instances) if opened.cell else config.instances)
            runners = [job.keep(opened.make(instance)) for instance in range(config.instances)]
            loaded_s = time.perf_counter()
            stand_back()  # what follows computes as hard as serving does
            examined = examine(opened.files, opened.identity.config, runners)
            most_rows = opened.identity.config.max_batch_size if examined.signature.batch_axis is not None else None
            run_samples(config.warmup_samples, runners, most_rows, job.cancel)
            load_ms, warm_ms = (loaded_s - began_s) * 1e3, (time.perf_counter() - loaded_s) * 1e3
            origins = Origins(opened.files.golden, load_ms, warm_ms, opened.cell)
            return _Built(opened.identity, runners, examined, origins, opened.again)

        job = LoadJob(f"version '{version}' of model '{model}'", work)
        self._jobs.add(job)
        try:
            built = await job.within(self._options.load_timeout_s)
        finally:
            self._jobs.discard(job)
        return await self._owned(built, counts) if built is not None else None

    async def _owned(self, built: _Built, statistics: VersionStatistics) -> Servable:
        """The servable, which owns the runners from here on; they are closed where it cannot be made.

        Raises:
            Unavailable: there are no threads for its engines now.
        """
        try:
            servable = self._assemble(built, statistics)
        except BaseException:
            await close_runners(f"{built.identity.model}/{built.identity.version}", built.runners)
            raise
        note_load(servable)
        return servable

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
        # On the loop nothing may wait for a process.
        inline_limit_s = self._options.inline_limit_s if steady and built.origins.processes is None else 0.0
        batcher = Batcher(
            built.runners,
            batch_config(
                identity.config,
                mixes=examined.batchability.mixes,
                inline_limit_s=inline_limit_s,
                shapes_vary=not examined.signature.fixed,
            ),
            examined.curve,
            clock=self.clock,
            observer=pulse,
            replace=replace,
            on_fatal=self._on_fatal,
            run_timeout_s=self._options.run_timeout_s,
            stacking=Padded(pads) if pads is not None else PLAIN,
        )
        try:
            batcher.start()
        except RuntimeError:  # which the next load may find
            raise Unavailable(f"there are no threads for {examined.signature.where}; try again later") from None
        sequencer = sequencer_of(identity.model, identity.config, plan, statistics, self.clock)
        cache = cache_of(identity.config, examined, statistics)
        parts = (identity, examined, built.origins, built.runners, batcher, statistics, pulse)
        return Servable(*parts, sequencer=sequencer, cache=cache)
