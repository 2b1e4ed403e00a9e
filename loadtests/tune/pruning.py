"""What of a change matters: each changed key is put back by itself, and stays back where that costs nothing.

One at a time, the cheapest first: of two keys that each do the same good, both could be put back alone, and not both
at once. A cost counts when the 95 % interval of the paired rounds shows it; noise keeps no key. Knows no servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtests.measures.resampling import Figure
from loadtests.tune.settings import Settings

Weigh = Callable[[Settings, Sequence[Settings]], Mapping[Settings, Figure]]


@dataclass(frozen=True, slots=True)
class Weighed:
    """One key put back.

    Attributes:
        key: of model.yaml.
        beside: the other keys' changes, which stood meanwhile.
        ratio: score with it put back / score with it changed.
    """

    key: str
    beside: Settings
    ratio: Figure

    @property
    def matters(self) -> bool:
        """Whether putting it back is shown to cost something."""
        return self.ratio.interval is not None and self.ratio.interval[1] < 1


def prune(best: Settings, weigh: Weigh, noted: list[Weighed]) -> Settings:
    """The best one without the changes that do no good; one is left at least.

    Args:
        best: the winner of the search.
        weigh: (a whole, shorter ones) -> score of each / the whole one's; those that could not be measured are missing
            and stay changed.
        noted: each key that was put back is added.
    """
    while len(best.changes()) > 1:
        shorter = {key: best.put_back(key) for key in best.changes()}
        ratios = weigh(best, list(shorter.values()))
        seen = [Weighed(key, one, ratios[one]) for key, one in shorter.items() if one in ratios]
        noted += seen
        idle = [one for one in seen if not one.matters]
        if not idle:
            break
        best = max(idle, key=lambda one: one.ratio.value).beside
    return best
