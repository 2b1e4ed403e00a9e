"""How many rows a request may have: as many as some thousand runs take, or those of one where it is run whole."""

from __future__ import annotations

from service.core.errors import BadInput
from service.serving.batchability import Batchability

# A row may hold no bytes at all, [2^40, 0] for one, so that the limit of the body is none of the rows.
RUNS_LIMIT = 4096


class RowLimits:
    """The limits of one version with a batch axis.

    Args:
        where: how messages name the version.
        batchability: whether its requests are put together and split.
        most_rows: of one run.
    """

    __slots__ = ("_limit", "_mixes", "_most_rows", "_reason", "_where")

    def __init__(self, where: str, batchability: Batchability, most_rows: int) -> None:
        self._where = where
        self._mixes = batchability.mixes
        self._reason = batchability.reason
        self._most_rows = most_rows
        self._limit = most_rows * (RUNS_LIMIT if self._mixes else 1)

    def check(self, rows: int) -> int | None:
        """Rows as the batcher counts them: None for a request that is run whole. Raises BadInput for too many."""
        if rows > self._limit:
            raise BadInput(self._sentence(rows))
        return rows if self._mixes else None

    def _sentence(self, rows: int) -> str:
        if self._mixes:
            return (
                f"{self._where} takes at most {self._limit} rows a request, got {rows}: "
                f"they are run {self._most_rows} at a time"
            )
        return (
            f"{self._where} takes at most {self._most_rows} rows a request, got {rows}; "
            f"larger ones are not split because {self._reason}"
        )
