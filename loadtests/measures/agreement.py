"""How often two versions name the same class, and what so many rows tell of all others."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counted on rows.

    Attributes:
        agreed: rows on which both name the same class.
        rows: on which both name one; above 0.
    """

    agreed: int
    rows: int

    @property
    def share(self) -> float:
        """Of the rows."""
        return self.agreed / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, exact (Clopper and Pearson, Biometrika 26 (1934)): 32 of 32 rows leave 89 % possible."""
        found = stats.binomtest(self.agreed, self.rows).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)
