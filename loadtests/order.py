"""What was asked of a comparison, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadtests.pools import Encoding
from loadtests.requirements import Requirement
from loadtests.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Order:
    """A comparison that is to be run.

    Attributes:
        model: its name.
        versions: ids; empty for all that the servers name. One that is named twice is held against itself.
        urls: of the servers, one at least; every version is asked for at every one.
        grpc: HOST:PORT of each server's gRPC, for the encoding "grpc".
        key: sent as a bearer token.
        ca: a PEM file of the authorities that are trusted over https; None for the system's.
        data: the rows; None takes the shipped digits', or made up ones.
        scenario: what the traffic is like.
        scenario_name: how the report names it.
        arrivals: "poisson" or "constant".
        trace: a recorded trace, for a scenario that replays one.
        rate: requests a second; None takes `OF_KNEE` of the lowest knee.
        find_knee: whether knees are looked for although a rate is given.
        limit_ms: the objective for the p99; None where none is given.
        duration_s: of the comparison, for each version.
        encoding: of requests and answers.
        requirements: that must be met.
        seed: of all that is drawn.
        cores: that the generator may use; empty leaves it to the system.
        command: the command line, for the report.
    """

    model: str
    versions: tuple[str, ...]
    urls: tuple[str, ...]
    scenario: Scenario
    scenario_name: str = "steady"
    grpc: tuple[str, ...] = ()
    key: str | None = None
    ca: Path | None = None
    data: Path | None = None
    arrivals: str = "poisson"
    trace: Path | None = None
    rate: float | None = None
    find_knee: bool = False
    limit_ms: float | None = None
    duration_s: float = 30.0
    encoding: Encoding | Literal["grpc"] = "binary"
    requirements: tuple[Requirement, ...] = ()
    seed: int = 0
    cores: tuple[int, ...] = ()
    command: str = ""
