"""The processes of one version: made from one copy of its bytes, counted and measured together.

Holds neither runners nor bytes: with the last runner the bytes go, and with the last version's the cradle.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator

from service.core.clock import Clock
from service.core.errors import DoesNotFit, RetortError
from service.repository.config_sections import OwnProcess
from service.repository.store import VersionFiles
from service.runtime.isolation.nursery import Nursery
from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.isolation.recipe import Recipe
from service.runtime.providers import RunnerOptions

_TOLD_EVERY_S = 1.0


class Cells:
    """Of all versions; used by any thread.

    Args:
        clock: monotonic seconds.
        load_timeout_s: of a process that takes another's place.
        report: told when a process died.
    """

    def __init__(self, clock: Clock, load_timeout_s: float, report: Callable[[str], None]) -> None:
        self._report = report
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._lock = threading.Lock()  # guards the one nursery, which is there for as long as a runner uses it
        self._nursery: weakref.ref[Nursery] | None = None

    def cell(self, own: OwnProcess, model: str, version: str) -> Cell:
        """For one load of one version."""
        where = f"version '{version}' of model '{model}'"
        return Cell(
            self._shared_nursery,
            own,
            self._clock,
            self._load_timeout_s,
            lambda what: self._report(f"{where}: {what}"),
        )

    def _shared_nursery(self) -> Nursery:
        with self._lock:
            nursery = self._nursery() if self._nursery is not None else None
            if nursery is None:
                nursery = Nursery()
                self._nursery = weakref.ref(nursery)
            return nursery


class Cell:
    """One version's.

    Args:
        nursery: gives what processes come from.
        own: what model.yaml says of them.
        clock: monotonic seconds.
        load_timeout_s: of a process that takes another's place.
        report: told when a process died; names the version.
    """

    def __init__(
        self,
        nursery: Callable[[], Nursery],
        own: OwnProcess,
        clock: Clock,
        load_timeout_s: float,
        report: Callable[[str], None],
    ) -> None:
        self._lock = threading.Lock()  # guards the deaths, which come on the threads of all instances
        self._deaths = 0
        self._told_s = -math.inf
        self._nursery = nursery
        self._report = report
        self._own = own
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._recipe: weakref.ref[Recipe] | None = None
        self._runners: list[weakref.ref[ProcessRunner]] = []

    def build(self, files: VersionFiles, options: RunnerOptions, cancel: threading.Event) -> ProcessRunner:
        """One instance; blocks.

        Raises:
            BadModel, DoesNotFit, NotReady: it cannot be had.
            Stuck: cancelled.
        """
        recipe = self._recipe() if self._recipe is not None else None
        try:
            recipe = recipe or Recipe(files.onnx, files.external, options, self._own.memory_bytes)
        except OSError:
            raise DoesNotFit("there is not enough memory for the bytes of this version") from None
        self._recipe = weakref.ref(recipe)
        runner = self._process_runner(recipe, options.device_id, cancel)
        self._runners.append(weakref.ref(runner))
        return runner

    def _process_runner(self, recipe: Recipe, device_id: int, cancel: threading.Event) -> ProcessRunner:
        try:
            return ProcessRunner(
                recipe,
                self._nursery(),
                device_id,
                cancel=cancel,
                clock=self._clock,
                load_timeout_s=self._load_timeout_s,
                spare=self._own.spare,
                on_death=self._note_death,
                tell=self._report,
            )
        except RetortError as error:
            refusal = self._with_bound(error, recipe).with_traceback(None)
            refusal.__cause__ = refusal.__context__ = None  # whose frames would keep the cradle
        raise refusal

    def _with_bound(self, error: RetortError, recipe: Recipe) -> RetortError:
        if not isinstance(error, DoesNotFit) or (bound_bytes := self._own.memory_bytes) is None:
            return error
        bound = f"'isolation.process.memory_bytes' is {bound_bytes}, and loading it takes more, of which"
        return DoesNotFit(f"{bound} {recipe.size_bytes} bytes are its files: {error}")

    def copies(self, instances: int) -> int:
        """How often the version is in memory: one for each process, and the bytes that they are made from."""
        return instances * (1 + self._own.spare) + 1

    @property
    def resident_bytes(self) -> int:
        """Memory of all its processes now."""
        return sum(runner.resident_bytes for runner in self._living())

    @property
    def used_s(self) -> float:
        """Processor time of its processes so far, without that of those which are gone."""
        return sum(runner.used_s for runner in self._living())

    @property
    def restarts(self) -> int:
        """How often a process took the place of another."""
        return sum(runner.restarts for runner in self._living())

    def _note_death(self, reason: str, ending: str) -> None:
        """A line for it, but one a second: requests that kill could else fill the log."""
        with self._lock:
            self._deaths += 1
            if self._clock.now_s() - self._told_s < _TOLD_EVERY_S:
                return
            self._told_s = self._clock.now_s()
        self._report(f"its process died: {reason}, {ending}; {self._deaths} so far")

    def _living(self) -> Iterator[ProcessRunner]:
        return (runner for one in tuple(self._runners) if (runner := one()) is not None)
