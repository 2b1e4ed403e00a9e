"""Opens a version that another server runs: asks it what the model is like, and makes runners that call it.

Costs nothing until a model.yaml has a `runner`: only then is this, and gRPC with it, imported.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from service.observe.statistics import VersionStatistics
from service.repository.config_sections import RemoteTriton
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.triton import TritonRunner
from service.runtime.triton_model import Address, RemoteModel, describe
from service.serving.servable import Identity


def address_of(remote: RemoteTriton, model: str) -> Address:
    """Where `model` of this server is, by its model.yaml."""
    return Address(remote.url, remote.model or model, remote.version or "", remote.timeout_s)


def open_remote(
    files: VersionFiles,
    config: ModelConfig,
    remote: RemoteTriton,
    cancel: threading.Event,
    on_retry: Callable[[], None],
) -> tuple[Identity, Callable[[], TritonRunner]]:
    """The identity of the version, and what makes a runner of it without asking again; blocks for some seconds at most.

    Args:
        files: card and golden cases, where there are any.
        config: model.yaml as read; in the identity its `max_batch_size` is no more than the remote's.
        remote: its runner.
        cancel: set from another thread to give up.
        on_retry: hears of calls that are made again, on the runner's thread.

    Raises:
        BadModel: the model cannot be served from here.
        NotReady, Rejected, Stuck: the remote cannot be asked now.
    """
    model: RemoteModel = describe(address_of(remote, files.model), cancel)
    config = bounded(config, model.max_rows)
    identity = Identity(
        files.model, files.version, model.digest, files.bytes_total, files.disk_bytes, files.card, config
    )
    return identity, lambda: TritonRunner(model, on_retry)


def bounded(config: ModelConfig, max_rows: int | None) -> ModelConfig:
    """The configuration with no more rows a run than the remote takes; None for one that sets no limit."""
    if max_rows is None or config.max_batch_size <= max_rows:
        return config
    queueing = config.dynamic_batching
    preferred = tuple(rows for rows in queueing.preferred_batch_size if rows <= max_rows)
    batching = queueing.model_copy(update={"preferred_batch_size": preferred})
    return config.model_copy(update={"max_batch_size": max_rows, "dynamic_batching": batching})


def counting(statistics: VersionStatistics) -> Callable[[], None]:
    """What runners call from their threads: counts a retry on the event loop that runs now, which owns `statistics`."""
    loop = asyncio.get_running_loop()
    statistics.remote_retries = statistics.remote_retries or 0

    def count() -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody counts any more
            loop.call_soon_threadsafe(statistics.retried)

    return count
