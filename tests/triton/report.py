"""What a comparison found, as a table: equal, different for a reason that is written down, or just different."""

from __future__ import annotations

from dataclasses import dataclass, field

EQUAL, KNOWN, DIFFERENT = "equal", "documented", "DIFFERENT"


@dataclass(slots=True)
class Report:
    """Findings in the order in which they were made."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def compare(
        self, what: str, first: object, second: object, known: tuple[object, object, str] | None = None
    ) -> None:
        """Notes whether the two are equal, or differ just as `known` says, and why."""
        if known is not None and (first, second) == known[:2]:
            self._add(KNOWN, what, f"{first} / {second}", known[2])
        elif known is not None and first == second:
            self._add(DIFFERENT, what, f"{first}", f"no longer different: {known[2]}")
        else:
            self._add(
                EQUAL if first == second else DIFFERENT, what, f"{first}" if first == second else f"{first} / {second}"
            )

    def holds(self, what: str, holds: bool, figure: str = "") -> None:
        """Notes whether something that must hold does."""
        self._add(EQUAL if holds else DIFFERENT, what, figure)

    @property
    def failed(self) -> int:
        """How many differences nobody wrote down."""
        return sum(row[0] == DIFFERENT for row in self.rows)

    def table(self) -> str:
        """Everything but equal statuses, one line a finding, and the sums."""
        width = max((len(row[1]) for row in self.rows), default=0)
        lines = [
            f"{verdict:<10}  {what:<{width}}  {values}  {why}".rstrip() for verdict, what, values, why in self.rows
        ]
        sums = {verdict: sum(row[0] == verdict for row in self.rows) for verdict in (EQUAL, KNOWN, DIFFERENT)}
        return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in sums.items())])

    def _add(self, verdict: str, what: str, values: str, why: str = "") -> None:
        self.rows.append((verdict, what, values if len(values) <= 60 else f"{values[:57]}...", why))
