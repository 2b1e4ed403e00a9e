"""May this version be made active here? The gate's table as one pure function of a card and a machine.

The statistics behind a verdict are the workshop's; here the verdict is only read. `force` overrides the verdict and
nothing else: golden cases, hashes, signature and memory are checked by whoever loads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from service.repository.card import Card

NOT_MEASURED_HERE = "not-measured-here"
FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a version runs: the provider that was chosen and the class of the CPU."""

    provider: str
    cpu_class: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says.

    Attributes:
        allowed: whether the version may become active.
        warning: "not-measured-here" or "forced", else None.
        reason: one sentence when not allowed, else "".
        verdict: what the answer shows beside the sentence.
    """

    allowed: bool
    warning: str | None = None
    reason: str = ""
    verdict: dict[str, object] = field(default_factory=dict)


def decide(
    card: Card | None, machine: Machine, *, profile: Literal["default", "strict"], has_golden: bool, force: bool
) -> Decision:
    """Reads the card of the version that is to become active.

    Args:
        card: None for a version without one.
        machine: the provider and CPU class here.
        profile: `gate` of model.yaml.
        has_golden: whether golden cases came with the version; they must hold where nothing was measured.
        force: the operator's override of the verdict.
    """
    if card is None or card.variant_of is None:
        return Decision(allowed=True)
    refusal = _refusal(card, machine, profile, has_golden)
    if refusal is None:
        return Decision(allowed=True, warning=None if measured_here(card, machine) else NOT_MEASURED_HERE)
    if force:
        return Decision(allowed=True, warning=FORCED)
    verdict: dict[str, object] = {"verdict": card.verdict, "reasons": list(card.reasons)}
    return Decision(allowed=False, reason=refusal, verdict=verdict)


def measured_here(card: Card, machine: Machine) -> bool:
    """Whether the card's quality was measured with this provider on this class of CPU."""
    return any((q.provider, q.cpu_class) == (machine.provider, machine.cpu_class) for q in card.quality)


def _refusal(card: Card, machine: Machine, profile: str, has_golden: bool) -> str | None:
    named = f"version '{card.version}' of model '{card.model}'"
    if card.verdict != "pass":
        why = f": {'; '.join(card.reasons)}" if card.reasons else ""
        return f"the gate's verdict on {named} is '{card.verdict or 'none'}'{why}"[:2000]
    if measured_here(card, machine):
        return None
    here = f"{machine.provider} on {machine.cpu_class}"
    if profile == "strict":
        return f"{named} passed the gate elsewhere and was never measured with {here}, which the strict gate asks for"
    if not has_golden:
        return f"{named} was never measured with {here} and has no golden cases to hold it against"
    return None
