"""Adds this machine to a published version's card: its quality, speed and golden tolerance, measured here and now.

What other machines measured stays. The card's verdict is then the worst of all; gain and reasons are this machine's,
unless another one's verdict is worse, whose reasons then stay.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.cards import CODED
from models.evaluate import appraise, gate, measure
from models.evaluate.appraise import Appraisal, Trial
from models.evaluate.version import Case, Version, golden_cases, tolerances
from service.repository.card import Card, Golden, GoldenTolerance, Size
from service.repository.card_measures import Batching, Verdict

RELATIVE_L2 = 0.05
SEVERITY: tuple[Verdict, ...] = ("pass", "insufficient-data", "fail")


class GoldenBroken(ValueError):
    """This machine's answers are not the version's: nothing measured with them would be worth telling."""


def remeasured(
    version: Version, full: Version | None, trial: Trial, profile: gate.Profile = gate.PROFILES["default"]
) -> Card:
    """The version's card with what `trial` finds on this machine in place of what it said of this kind of machine.

    Args:
        version: what is measured.
        full: the full version of a variant, None for a full version.
        trial: how, and on which test set.
        profile: how strict the gate is.

    Raises:
        GoldenBroken: the golden cases do not hold here, not even loosely.
        ValueError: a variant came without its full version.
        BadModel: a file does not load.
    """
    card = version.card
    if (card.variant_of is None) != (full is None):
        told = f"a variant of '{card.variant_of}' and measured beside it" if card.variant_of else "measured alone"
        raise ValueError(f"Version '{card.version}' is {told}.")
    golden = _golden(version, trial.bench)
    if full is None:
        return _with(card, appraise.appraise_full(version.onnx, trial), golden, trial.bench)
    full_onnx, coded = full.onnx, version.files.get(CODED)
    found = appraise.appraise_variant(
        version.onnx,
        trial,
        full_onnx=full_onnx,
        full=full.card.size or Size(file_bytes=len(full_onnx)),
        profile=profile,
        coded_bytes=None if coded is None else len(coded),
    )
    return _with(card, found, golden, trial.bench)


def _with(card: Card, found: Appraisal, golden: Golden | None, bench: measure.Bench) -> Card:
    here = (bench.provider, bench.cpu_class)
    others = [one for one in card.quality if (one.provider, one.cpu_class) != here]
    timed = [one for one in card.speed if (one.provider, one.cpu_class, one.threads) != (*here, bench.threads)]
    changes: dict[str, object] = {
        "golden": golden,
        "quality": (*others, found.quality),
        "speed": (*timed, *found.speed),
        "speed_notes": found.notes,
        "batching": _stricter(card.batching if others else None, found.batching),
        "size": card.size or found.size,
    }
    if found.decision is not None:
        verdicts: list[Verdict] = [one.verdict for one in others if one.verdict is not None]
        elsewhere = _worst(verdicts)
        own = found.decision.verdict
        worse_elsewhere = elsewhere is not None and SEVERITY.index(elsewhere) > SEVERITY.index(own)
        changes |= {
            "verdict": elsewhere if worse_elsewhere else own,
            "reasons": card.reasons if worse_elsewhere else found.decision.reasons,
            "gain_kind": found.gain_kind,
        }
    # Validated anew, as a card that is read would be.
    return Card.model_validate(card.model_copy(update=changes).model_dump(by_alias=True))


def _golden(version: Version, bench: measure.Bench) -> Golden | None:
    """The card's golden part with this machine's tolerance: the recorded one, or twice what is off here."""
    told = version.card.golden
    runner = measure.open_runner(version.onnx, bench)
    cases = golden_cases(version, runner)
    runner.close()
    if told is None or not cases:
        return told
    _hold(version.card.version, cases, top1=told.top1)
    usual = max((one.max_abs for one in told.tolerances), default=tolerances(cases)[0])
    worst = max(one.error for one in cases)
    limit = usual if worst <= usual else float(f"{2 * worst:.2g}")
    own = GoldenTolerance(provider=bench.provider, cpu_class=bench.cpu_class, max_abs=limit)
    others = _without(told.tolerances, bench)
    return Golden(tolerances=(*others, own), top1=told.top1)


def _hold(name: str, cases: Iterable[Case], *, top1: bool) -> None:
    for one in cases:
        if not one.fits:
            said = "has another form"
        elif one.relative_l2 <= RELATIVE_L2 and (one.same_class or not top1):
            continue
        elif one.is_float:
            said = (
                f"is off by {one.relative_l2:.3g} of its norm, at most {RELATIVE_L2} and the same classes were expected"
            )
        else:
            said = "has other values than recorded"
        raise GoldenBroken(f"Version '{name}' does not answer its golden cases here: output '{one.name}' {said}.")


def _without(tolerances: Iterable[GoldenTolerance], bench: measure.Bench) -> tuple[GoldenTolerance, ...]:
    here = (bench.provider, bench.cpu_class)
    return tuple(one for one in tolerances if (one.provider, one.cpu_class) != here)


def _stricter(told: Batching | None, found: Batching) -> Batching:
    """What holds on every machine: one on which requests may not be mixed decides."""
    if told is None or told.mode == "any":
        return found
    return told


def _worst(verdicts: list[Verdict]) -> Verdict | None:
    return max(verdicts, key=SEVERITY.index, default=None)
