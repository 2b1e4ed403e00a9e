"""What an operation answers, and how a version looks from outside: frozen nouns, ready to be written as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from service.repository.card import Card
from service.serving.gate import Machine, measured_here


@dataclass(frozen=True, slots=True)
class SwapReport:
    """The answer to a swap or a rollback.

    Attributes:
        from_version: active before; None when none was.
        to_version: active now.
        agreement: share of test rows on which the variant and its full version agree, with n and source, from the
            card; None for a full version or where it was not measured on this machine's kind.
        golden: n rows and the largest absolute difference; None without golden cases.
        load_ms: 0 for a version that was resident.
        warm_ms: 0 for a version that was resident.
        drain_ms: from the exchange until the old version was closed; 0 where it stays resident.
        warning: "not-measured-here", "forced", "not-durable", joined by ", "; None when there is none.
    """

    model: str
    from_version: str | None
    to_version: str
    agreement: dict[str, object] | None
    golden: dict[str, object] | None
    load_ms: float
    warm_ms: float
    drain_ms: float
    warning: str | None

    def to_json(self) -> dict[str, object]:
        """The keys of the wire."""
        return {
            "model": self.model,
            "from": self.from_version,
            "to": self.to_version,
            "agreement": self.agreement,
            "golden": self.golden,
            "load_ms": round(self.load_ms, 3),
            "warm_ms": round(self.warm_ms, 3),
            "drain_ms": round(self.drain_ms, 3),
            "warning": self.warning,
        }


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version as the outside sees it.

    Attributes:
        state: a `servable.State` value.
        reason: why it failed or is not loaded, else "".
        unverified_here: loaded, but no golden tolerance of its card covers this machine.
        disk_bytes: of what it runs, as it lies on disk; None when not loaded.
        load_s: seconds of the last load and warm-up; None when not loaded.
        warnings: what its configuration says and has no effect.
    """

    model: str
    version: str
    state: str
    reason: str
    active: bool
    card: Card | None
    disk_bytes: int | None = None
    unverified_here: bool = False
    load_s: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests would be answered, and one sentence when not."""

    ok: bool
    reason: str = ""


READY = Readiness(True)


def agreement_of(card: Card | None, machine: Machine) -> dict[str, object] | None:
    """The card's agreement with the full version for this machine, as the swap's answer shows it."""
    if card is None or not measured_here(card, machine):
        return None
    quality = card.quality_on(machine.provider, machine.cpu_class)
    if quality is None or quality.agreement is None:
        return None
    return {"value": quality.agreement, "n": quality.n, "source": "card"}
