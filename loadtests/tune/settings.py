"""The settings that are tuned, and which of their combinations are worth trying. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

# Rows of one run at most, and how long a batch may wait to become it. Waiting without batching is left out.
BATCHING = ((1, 0), (8, 0), (32, 0), (128, 0), (8, 1000), (32, 1000), (32, 4000), (128, 4000))


@dataclass(frozen=True, slots=True)
class Settings:
    """Changes to a model.yaml; None leaves what is there.

    Attributes:
        max_batch_size: rows of one run.
        max_queue_delay_microseconds: that a batch which could still grow waits.
        instances: runners side by side.
        threads: inside one run of one instance.
    """

    max_batch_size: int | None = None
    max_queue_delay_microseconds: int | None = None
    instances: int | None = None
    threads: int | None = None

    def changes(self) -> dict[str, int]:
        """Key -> value of what is not left as it is."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.changes().items()) or "as it is"

    def put_back(self, key: str) -> Settings:
        """The same settings, with what is there already for this key."""
        return replace(self, **{key: None})

    def without(self, present: Settings) -> Settings:
        """The same settings, with None for what `present` says already."""
        same = {name: None for name, value in self.changes().items() if getattr(present, name) == value}
        return replace(self, **same)


# The configuration as it stands.
PRESENT = Settings()


def shapes(cores: int, present: Settings) -> list[Settings]:
    """How so many cores may be divided among instances: one, two, as many as there are, each with its share.

    Args:
        cores: that the server may use.
        present: what the configuration says now, as far as that is known.
    """
    counts = sorted({1, 2, max(1, cores // 2), cores} - ({2} if cores == 1 else set()))
    tried = [Settings(instances=count, threads=max(1, cores // count)) for count in counts]
    return distinct(tried, present)


def batchings(shape: Settings, present: Settings) -> list[Settings]:
    """Batch limits and delays, with the instances and threads of `shape`."""
    tried = [replace(shape, max_batch_size=rows, max_queue_delay_microseconds=delay_us) for rows, delay_us in BATCHING]
    return distinct([shape, *tried], present)


def distinct(tried: Sequence[Settings], present: Settings) -> list[Settings]:
    """Without what is the present configuration, and without doubles."""
    changed = (one.without(present) for one in tried)
    return [one for one in dict.fromkeys(changed) if one != PRESENT]
