"""What is asked of a search, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loadtests.tune.objective import Name


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        folder: of the model, in its repository.
        version: that is tuned; "" for the active one.
        objective: what it is to be good at.
        limit_ms: of an answer in time.
        rate: requests a second, for latency and goodput; None chooses.
        budget_s: for all of it.
        data: a .npz of rows; None for digits' test set, or made-up rows.
        server_cores: that servers may use.
        generator_cores: that the generator uses.
        seed: of all that is drawn.
    """

    folder: Path
    version: str
    objective: Name
    limit_ms: float
    rate: float | None
    budget_s: float
    data: Path | None = None
    server_cores: tuple[int, ...] = ()
    generator_cores: tuple[int, ...] = ()
    seed: int = 0

    @property
    def model(self) -> str:
        """Its name."""
        return self.folder.name

    def yaml(self) -> str:
        """The model.yaml as it stands."""
        file = self.folder / "model.yaml"
        return file.read_text(encoding="utf-8") if file.exists() else ""
