"""The gate's table at a swap, a load and at start-up."""

import pytest

from service.repository.card import Card
from service.serving.gate import FORCED, NOT_MEASURED_HERE, Machine, decide, measured_here
from tests.unit.serving.cards import card

HERE = Machine("cpu", "avx512_vnni")
ELSEWHERE = Machine("cpu", "avx2")
GPU = Machine("cuda", "avx512_vnni")


def test_without_a_card_there_is_no_gate() -> None:
    assert decide(None, HERE, profile="strict", has_golden=False, force=False).allowed


@pytest.mark.parametrize("machine", [HERE, ELSEWHERE, GPU])
def test_a_full_version_is_not_gated(machine: Machine) -> None:
    decision = decide(card(variant_of=None), machine, profile="strict", has_golden=False, force=False)
    assert (decision.allowed, decision.warning) == (True, None)


@pytest.mark.parametrize(
    ("verdict", "machine", "profile", "has_golden", "force", "allowed", "warning"),
    [
        ("pass", HERE, "default", True, False, True, None),
        ("pass", HERE, "strict", False, False, True, None),
        ("pass", ELSEWHERE, "default", True, False, True, NOT_MEASURED_HERE),
        ("pass", GPU, "default", True, False, True, NOT_MEASURED_HERE),
        ("pass", ELSEWHERE, "default", False, False, False, None),
        ("pass", ELSEWHERE, "strict", True, False, False, None),
        ("pass", ELSEWHERE, "strict", True, True, True, FORCED),
        ("fail", HERE, "default", True, False, False, None),
        ("fail", HERE, "default", True, True, True, FORCED),
        ("insufficient-data", HERE, "default", True, False, False, None),
        ("insufficient-data", HERE, "strict", True, True, True, FORCED),
        ("pass", HERE, "default", True, True, True, None),
    ],
)
def test_the_table(
    verdict: str, machine: Machine, profile: str, has_golden: bool, force: bool, allowed: bool, warning: str | None
) -> None:
    decision = decide(card(verdict=verdict), machine, profile=profile, has_golden=has_golden, force=force)
    assert (decision.allowed, decision.warning) == (allowed, warning)
    assert bool(decision.reason) is not allowed


def test_a_refusal_says_the_verdict_and_the_rules_that_decided() -> None:
    failed = card(verdict="fail", reasons=("agreement 0.970 < 0.98", "bad flips 0.02 > 0.01"))
    decision = decide(failed, HERE, profile="default", has_golden=True, force=False)
    assert decision.reason == (
        "the gate's verdict on version '1-int8' of model 'm' is 'fail': agreement 0.970 < 0.98; bad flips 0.02 > 0.01"
    )
    assert decision.verdict == {"verdict": "fail", "reasons": ["agreement 0.970 < 0.98", "bad flips 0.02 > 0.01"]}


@pytest.mark.parametrize(("machine", "known"), [(HERE, True), (ELSEWHERE, False), (GPU, False)])
def test_measured_here_needs_provider_and_cpu_class(machine: Machine, known: bool) -> None:
    measured: Card = card()
    assert measured_here(measured, machine) is known
