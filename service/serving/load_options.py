"""What every load has in common, as values; nothing here loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.repository.store import VersionFiles
from service.runtime.providers import Provider, RunnerOptions

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
