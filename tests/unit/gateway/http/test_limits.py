from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from service.gateway.http.limits import Limits, connections_within


@pytest.mark.parametrize(
    ("wire_bytes", "body_bytes", "too_much"),
    [
        (0, 0, False),
        (100, 0, False),
        (101, 0, True),
        (100 + 2000, 1000, False),
        (100 + 2001, 1000, True),
        (6 * 1000, 1000, True),  # one byte a chunk
        (6 * 10, 10, False),  # a few of those harm nobody
        (10**9, 10**9, False),
    ],
)
def test_framing_may_outweigh_a_body_only_where_it_is_small(wire_bytes: int, body_bytes: int, too_much: bool) -> None:
    assert Limits(framing_bytes=100).too_much_framing(wire_bytes, body_bytes) is too_much


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(-1, 16_384), (0, 1), (1, 1), (1024, 768), (4096, 3072), (1 << 20, 16_384), (1 << 62, 16_384)],
)
def test_connections_leave_descriptors_for_the_rest(descriptors: int, connections: int) -> None:
    assert connections_within(descriptors) == connections


def in_a_process(soft: int, code: str) -> str:
    """What a fresh process with this soft limit of descriptors prints."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); {code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


READ = "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = f"from service.gateway.http.limits import raise_descriptor_limit; print(raise_descriptor_limit()); {READ}"
    assert in_a_process(128, raised).split() == [str(hard)] * 2
    assert in_a_process(128, READ) == "128"
