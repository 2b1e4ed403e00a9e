"""What `retort train` is asked for, in a form that other processes can be told, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.assemble import RUNS
from models.evaluate.gate import ProfileName


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes:
        name: of the family.
        folder: `<repository>/<model>`, where versions are published.
        work: folder of stages, checkpoints and prepared data.
        ledger: the file of selections.
        data: folder of the data set; None where it is shipped.
        only: ids of the versions that are wanted; all where there are none.
        profile: of the gate.
        runs: timed runs a batch size.
        quick: everything in its small form.
        processes: see `Bench`.
    """

    name: str
    folder: Path
    work: Path
    ledger: Path
    data: Path | None = None
    only: tuple[str, ...] = ()
    profile: ProfileName = "default"
    runs: int = RUNS
    quick: bool = False
    processes: int = 1

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Order:
        """From what `to_json` gave, also after JSON turned tuples into lists."""
        paths = {name: Path(told[name]) for name in ("folder", "work", "ledger")}
        data = None if told["data"] is None else Path(told["data"])
        return Order(**{**told, **paths, "data": data, "only": tuple(told["only"])})
