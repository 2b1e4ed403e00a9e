"""What clients get of a network through the server, which runs it on the device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from service.runtime.providers import Provider
from tests.bench.answers import check_answer
from tests.bench.compute import Served
from tests.bench.gpu.networks import Network
from tests.bench.server import ours
from tests.bench.workload import requests_of, write_repository


class Answered(NamedTuple):
    """A closed loop of so many connections: answers of one row a second, and the median wait."""

    network: str
    precision: str
    provider: str
    connections: int
    rows_per_s: float
    wait_ms: float
    rows_a_run: float


def serve(network: Network, provider: Provider, folder: Path, crowds: Sequence[int], seconds: float) -> list[Answered]:
    """Starts a server, holds one answer against the CPU's, and measures binary requests.

    Raises:
        SystemExit: another answer, or no server.
    """
    folder.mkdir()
    (folder / "model.onnx").write_bytes(network.onnx)
    file = write_repository(folder / "repository", folder / "model.onnx")
    row = {name: array[:1] for name, array in network.rows.items()}
    request = folder / "request"
    request.write_bytes(requests_of(row)["binary"])
    found = []
    with closing(ours(folder / "repository", folder / "state", provider=provider)) as server:
        check_answer(server.port, row, file, network.tolerance)
        served = Served(server, request)
        for connections in crowds:
            served.part(connections, seconds)  # what it learns of its runs
            part, runs = served.part(connections, seconds)
            found.append(
                Answered(
                    network.name, network.precision, provider, connections, part.rate, part.took_s * 1e3, runs.rows
                )
            )
    return found
