"""What clients saw, and what the server says it did: two accounts that must agree (promise N3)."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True)
class Tally:
    """Kept by the clients.

    Attributes:
        answers: HTTP status -> answers that were read to their end.
        calls: gRPC code -> calls that ended.
        right: model -> inference requests answered, and rightly.
        turned_away: requests that a model refused for now, since others had filled its queue.
        left: HTTP requests whose answer nobody waited for.
        complaints: what no client may ever see, a sentence each.
        sent: kind of client -> what it sent.
    """

    answers: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    left: int = 0
    complaints: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def answered(self, status: int) -> None:
        self.answers[status] += 1

    def complain(self, sentence: str) -> None:
        self.complaints.append(sentence)


@dataclass(frozen=True, slots=True)
class Books:
    """Kept by the server: its metrics by name and labels.

    Args:
        text: of `/metrics`.
    """

    text: str

    def value(self, name: str, **labels: str) -> float:
        """Sum over the samples of `name` that carry these labels."""
        return sum(value for of, value in self._samples(name) if labels.items() <= of.items())

    def by(self, name: str, label: str) -> Counter[str]:
        """Label's value -> sum over the samples of `name`."""
        found: Counter[str] = Counter()
        for of, value in self._samples(name):
            found[of.get(label, "")] += int(value)
        return found

    def _samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        found = (match.groups() for match in _SAMPLE.finditer(self.text))
        return [(dict(_LABEL.findall(labels or "")), float(value)) for sample, labels, value in found if sample == name]


@dataclass(frozen=True, slots=True)
class Body:
    """What a process holds: resident bytes, open descriptors, threads, child processes."""

    resident_bytes: int
    descriptors: int
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int) -> Body:
        process = Path(f"/proc/{pid}")
        pages = int((process / "statm").read_text().split()[1])
        tasks = list((process / "task").iterdir())
        children = sum(len((task / "children").read_text().split()) for task in tasks)
        descriptors = len(list((process / "fd").iterdir()))
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, len(tasks), children)
