"""The generator's process: what is sent to the whole group does not end it, its parent does."""

from __future__ import annotations

import os
import resource
import signal

import psutil
import pytest

from loadtests.generator.process import Generator


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_outlives_a_signal_to_the_group(number: signal.Signals) -> None:
    with Generator() as generator:
        generator.prepare({})  # it runs
        assert generator.pid is not None
        os.kill(generator.pid, number)
        generator.prepare({})
    assert not psutil.pid_exists(generator.pid)


def test_it_takes_as_many_descriptors_as_there_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        with Generator() as generator:
            generator.prepare({})
            assert psutil.Process(generator.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
