"""A scenario: the shape of the traffic and what happens beside it, from a small YAML file.

Adding a scenario is adding a file to `scenarios/`, or naming one's own. Unknown keys are refused by name.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loadtests import arrivals
from loadtests.arrivals import Profile
from loadtests.traces import read_trace

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BadScenario(ValueError):
    """The file is no scenario; the message says where and what was expected."""


class Part(BaseModel):
    """A frozen piece of a scenario: no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Burst(Part):
    """`factor` times the rate for `share` of the time in the middle."""

    factor: Positive = 10.0
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Swapping(Part):
    """The model is swapped between the versions compared, every so many seconds."""

    every_s: Positive = 1.0


class SlowClients(Part):
    """So many connections that send their requests byte by byte, one byte in `byte_every_s`."""

    count: Annotated[int, Field(gt=0, le=1000)] = 50
    byte_every_s: Positive = 0.5


class Scenario(Part):
    """One scenario.

    Attributes:
        summary: one sentence.
        shape: how the rate moves over a block.
        burst: of shape "burst".
        steps: of shape "steps": multiples of the rate, each for an equal part of the block.
        times_rate: multiplies the rate that was asked for.
        times_knee: in its place: a multiple of the lowest knee of the versions, which is looked for first.
        block_s: length of a block.
        swap: versions are swapped meanwhile, and requests name none.
        slow_clients: who is slow meanwhile.
        mixed: all versions at once instead of one after the other.
    """

    summary: str
    shape: Literal["steady", "burst", "steps", "trace"] = "steady"
    burst: Burst = Burst()
    steps: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0)
    times_rate: Positive = 1.0
    times_knee: Positive | None = None
    block_s: Positive = 1.0
    swap: Swapping | None = None
    slow_clients: SlowClients | None = None
    mixed: bool = False

    def profile(self, rate: float, *, trace: Path | None = None, start: int = 0) -> Profile:
        """The rates of one block whose mean (of a burst: the calm rate) is `rate` requests a second.

        Args:
            rate: requests a second.
            trace: a recorded trace, for shape "trace".
            start: its second that comes first.

        Raises:
            BadScenario: the shape is a trace, and none was named.
            BadTrace: it is none.
        """
        if self.shape == "burst":
            return arrivals.burst(rate, self.block_s, factor=self.burst.factor, share=self.burst.share)
        if self.shape == "steps":
            return arrivals.steps([rate * step for step in self.steps], self.block_s)
        if self.shape == "trace":
            if trace is None:
                raise BadScenario("a trace is to be replayed, and none is named: give it with --trace FILE.")
            return arrivals.trace(read_trace(trace), rate, self.block_s, start=start)
        return arrivals.steady(rate, self.block_s)


def names() -> tuple[str, ...]:
    """Of the scenarios that come along."""
    files = resources.files("loadtests.scenarios").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{file} cannot be read: {error}.") from None


def read_scenario(name: str) -> Scenario:
    """A scenario that comes along, by its name, or one's own, by the path of its file.

    Raises:
        BadScenario: there is none, or it is not one.
    """
    own = Path(name)
    if name in names():
        text = (resources.files("loadtests.scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
    elif own.suffix in (".yaml", ".yml") and own.is_file():
        text = _text_of(own)
    else:
        raise BadScenario(f"there is no scenario {name!r}; known are {', '.join(names())}, or the path of a YAML file.")
    try:
        return Scenario.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadScenario(f"{name} is no YAML: {' '.join(str(error).split())[:200]}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise BadScenario(f"{name}, at {where}: {what}.") from None
