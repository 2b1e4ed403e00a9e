"""What happens between the settings and a running server, in the order that is soonest ready.

A file that is new here is tried in a process of its own: that process starts first, and is there when the server has
been imported. Python does not look for cycles meanwhile: what an import makes stays, and looking at all of it again and
again took a sixth of the start.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from service.cli.failure import Failure
from service.runtime import trial_memory
from service.runtime.trial_process import TrialAhead, limits_within

if TYPE_CHECKING:
    from service.settings import Settings

_STANDARD_ERROR = 2


def launch(settings: Settings, say: Callable[[str], None]) -> int:
    """Serves until a signal; the exit code. Raises Failure where there is no use in starting."""
    _fill_standard_files()
    faulthandler.enable(_crash_log())
    with _trial_ahead(settings) as ahead:
        gc.disable()
        try:
            from service.app import serve  # noqa: PLC0415 - the whole server
            from service.assembly import CannotStart  # noqa: PLC0415
        except ValueError as error:  # of OTEL_PROPAGATORS, which OpenTelemetry reads as the web framework imports it
            raise Failure(f"cannot start: {error}") from None
        finally:
            gc.freeze()
            gc.enable()
        try:
            return serve(settings, say, ahead)
        except CannotStart as error:
            raise Failure(f"{error}.") from None


def _fill_standard_files() -> None:
    """Opens those of the files 0 to 2 that are closed: libraries write to number 2, which would be a socket of ours."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)


def _crash_log() -> int:
    """Where a crash of native code leaves what each thread was at: standard error, opened so that no write waits.

    A reader of the log that stands still would keep a server that has crashed from ending.
    """
    try:
        return os.open(f"/proc/self/fd/{_STANDARD_ERROR}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # a socket, which cannot be opened again; a system without /proc
        return _STANDARD_ERROR


@contextlib.contextmanager
def _trial_ahead(settings: Settings) -> Iterator[TrialAhead | None]:
    """A process for the first trial, where one is to be expected: nothing was ever tried."""
    ahead = None
    with contextlib.suppress(OSError):  # a folder nobody may look into, no process to be had: trials say so themselves
        ahead = _started(settings)
    try:
        yield ahead
    finally:
        if ahead is not None:
            ahead.close()


def _started(settings: Settings) -> TrialAhead | None:
    state_dir = settings.state_dir
    if not settings.trial_memory_bytes or (state_dir is not None and (state_dir / trial_memory.FILE).exists()):
        return None
    return TrialAhead(limits_within(settings.load_timeout_s, settings.trial_memory_bytes))
