"""What a search found; it is filled while the search goes on, so that an interruption tells what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtests.measures.resampling import Figure
from loadtests.tune.halving import is_better
from loadtests.tune.objective import Objective
from loadtests.tune.pruning import Weighed
from loadtests.tune.settings import PRESENT, Settings
from loadtests.verdict import MOST_LAG_MS


@dataclass
class Found:
    """What a search found; filled while it goes on.

    Attributes:
        present: what the configuration says now.
        objective: with the traffic that was sent.
        best: changes that it takes, without those that did no good; none where the present configuration wins.
        ratio: best score / present score, of fresh rounds; None where these were not reached.
        rounds: of these.
        tried: settings -> mean score / the present one's, and from how many rounds.
        failed: settings -> why no server would start with them.
        left_out: settings for which the budget had no time.
        complete: whether it came to its end.
        lag_p99_ms: of the generator, over the first half of every block.
        weighed: what it cost to put one key of the best one's changes back.
    """

    present: Settings
    objective: Objective | None = None
    best: Settings = PRESENT
    ratio: Figure | None = None
    rounds: int = 0
    tried: dict[Settings, tuple[float, int]] = field(default_factory=dict)
    failed: dict[Settings, str] = field(default_factory=dict)
    complete: bool = False
    left_out: int = 0
    lag_p99_ms: float = 0.0
    weighed: list[Weighed] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether the generator came in time, so that the figures mean what they say."""
        return self.lag_p99_ms <= MOST_LAG_MS

    @property
    def better(self) -> bool:
        """Whether the best is shown to be better than the present configuration."""
        return self.best != PRESENT and is_better(self.ratio)
