"""Gates repeated on variants whose truth is known: they pass as often as the statistics promise, and no more.

A pair that is equal but for noise is made of the shipped network's real logits: both versions get noise of the same
law, so that neither is better. A pair that differs by the whole margin is made by spoiling right answers. What the
statistics promise is summed exactly over the trinomial distribution of the discordant counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import models
from models.data import digits
from models.evaluate import gate, latency, measure, statistics
from models.evaluate.evidence import Classified, Evidence
from models.evaluate.gate import PROFILES, Profile
from models.evaluate.quality import predicted
from service.core.cpu import cpu_class

FULL = Path(models.__file__).parent / "repository" / "digits" / "1" / "model.onnx"
DEFAULT = PROFILES["default"]
# Both ends together: a correct gate breaks a bound once in 10,000 gates' worth of rates.
Z = 3.9

Truth = NDArray[np.bool_]


@cache
def logits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of every row of the data set: the shipped network's answers, with the labels."""
    parts = digits.parts()
    inputs = np.concatenate([parts[name].inputs[digits.INPUT] for name in ("test", "development", "training")])
    labels = np.concatenate([parts[name].labels for name in ("test", "development", "training")])
    runner = measure.open_runner(FULL.read_bytes(), measure.Bench(cpu_class()))
    found = measure.answers(runner, {digits.INPUT: inputs}, "logits").logits
    runner.close()
    return found, labels


@dataclass(frozen=True)
class Population:
    """Chances of a drawn row: full right and variant wrong, the reverse, and the full version right at all."""

    b: float
    c: float
    right: float


def noisy(scale: float, rows: int, rng: np.random.Generator) -> tuple[Truth, Truth]:
    """Which of `rows` drawn rows each of two equal versions has right: real logits with noise of the same law."""
    known, labels = logits()
    at = rng.integers(0, len(known), rows)
    pair = [predicted(known[at] + scale * rng.standard_normal((rows, 10)).astype(np.float32)) for _ in range(2)]
    return pair[0] == labels[at], pair[1] == labels[at]


def spoilt(share: float, scale: float, rows: int, rng: np.random.Generator) -> tuple[Truth, Truth]:
    """The same, with this share of the variant's right answers spoilt."""
    full, variant = noisy(scale, rows, rng)
    return full, variant & (rng.random(rows) >= share)


@cache
def scale_for(discordance: float) -> float:
    """The noise at which this share of the rows is right in one version only, by bisection on 40,000 rows."""
    low, high = 0.0, 20.0
    for _ in range(20):
        middle = (low + high) / 2
        full, variant = noisy(middle, 40_000, np.random.default_rng(0))
        low, high = (middle, high) if (full != variant).mean() < discordance else (low, middle)
    return high


@cache
def population(discordance: float, share: float = 0.0) -> Population:
    full, variant = spoilt(share, scale_for(discordance), 1_000_000, np.random.default_rng(1))
    return Population(float((full & ~variant).mean()), float((~full & variant).mean()), float(full.mean()))


def evidence(n: int, full_right: int, b: int, c: int) -> Evidence:
    facts = Classified(n=n, full_right=full_right, b=b, c=c, flips=b + c)
    return Evidence(facts, 0, True, True, 0.0, full_bytes=100, bytes=25)


def promised(n: int, chances: Population, profile: Profile = DEFAULT) -> float:
    """How often a gate passes: over b and c exactly, with as many right rows as there are on average."""
    right = round(n * chances.right)
    total = 0.0
    most = math.ceil(n * (chances.b + chances.c) + 12 * math.sqrt(n * (chances.b + chances.c)) + 10)
    for b in range(most):
        for c in range(most - b):
            if gate.judge(evidence(n, right, b, c), profile).verdict == "pass":
                total += math.exp(_log_trinomial(n, b, c, chances))
    return total


def _log_trinomial(n: int, b: int, c: int, chances: Population) -> float:
    rest = n - b - c
    ways = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(rest + 1)
    return ways + b * math.log(chances.b) + c * math.log(chances.c) + rest * math.log(1 - chances.b - chances.c)


def passed(gates: int, n: int, discordance: float, share: float = 0.0) -> int:
    """Of so many gates, each on other rows with other noise."""
    rng, scale = np.random.default_rng(2), scale_for(discordance)
    count = 0
    for _ in range(gates):
        full, variant = spoilt(share, scale, n, rng)
        b, c = int((full & ~variant).sum()), int((~full & variant).sum())
        count += gate.judge(evidence(n, int(full.sum()), b, c), DEFAULT).verdict == "pass"
    return count


def within(count: int, gates: int, rate: float, slack: float = 0.01) -> bool:
    """Whether a count is one that this rate gives; `slack` for what the promise leaves out."""
    return abs(count / gates - rate) <= Z * math.sqrt(max(rate * (1 - rate), 1 / gates) / gates) + slack


SHORT = [(200, 1200, 0.01)]
LONG = [(2000, n, d) for n, d in ((600, 0.005), (600, 0.01), (1200, 0.01), (2500, 0.015), (1200, 0.02), (5000, 0.015))]


def check_equal_pairs(gates: int, n: int, discordance: float) -> None:
    rate, count = promised(n, population(discordance)), passed(gates, n, discordance)
    assert within(count, gates, rate), f"promised {rate:.3f}, {count} of {gates} passed"


def check_at_the_margin(gates: int, n: int, discordance: float) -> None:
    full, _ = noisy(scale_for(discordance), 1_000_000, np.random.default_rng(1))
    assert abs(population(discordance, 0.01).b - population(discordance, 0.01).c - 0.01 * full.mean()) < 5e-4
    count = passed(gates, n, discordance, share=0.01)
    assert count / gates <= 0.05 + Z * math.sqrt(0.05 * 0.95 / gates)


@pytest.mark.parametrize(("gates", "n", "discordance"), SHORT)
def test_equal_pairs_pass_as_often_as_promised(gates: int, n: int, discordance: float) -> None:
    check_equal_pairs(gates, n, discordance)


@pytest.mark.slow
@pytest.mark.parametrize(("gates", "n", "discordance"), LONG)
def test_equal_pairs_pass_as_often_as_promised_long(gates: int, n: int, discordance: float) -> None:
    check_equal_pairs(gates, n, discordance)


@pytest.mark.parametrize(("gates", "n", "discordance"), SHORT)
def test_a_loss_of_the_whole_margin_passes_once_in_twenty_at_most(gates: int, n: int, discordance: float) -> None:
    check_at_the_margin(gates, n, discordance)


@pytest.mark.slow
@pytest.mark.parametrize(("gates", "n", "discordance"), LONG)
def test_a_loss_of_the_whole_margin_passes_once_in_twenty_at_most_long(gates: int, n: int, discordance: float) -> None:
    check_at_the_margin(gates, n, discordance)


def test_negative_control_a_gate_without_bounds_passes_a_loss_of_the_whole_margin_half_the_time() -> None:
    """What rule 1 alone would do, and why rule 2 is there."""
    rng, scale = np.random.default_rng(2), scale_for(0.01)
    pairs = [spoilt(0.01, scale, 1200, rng) for _ in range(200)]
    passing = sum(variant.sum() >= 0.99 * full.sum() for full, variant in pairs)
    assert passing > 60


def test_the_promise_is_what_the_sample_size_formula_says() -> None:
    """`needed_samples` promises to show it 4 times in 5; exactly summed, Bonett and Price's bound keeps that."""
    chances = Population(0.01, 0.01, 1.0)
    n = statistics.needed_samples(100, 100, 10_000, 0.01)
    shown = sum(
        math.exp(_log_trinomial(n, b, c, chances))
        for b in range(120)
        for c in range(120)
        if statistics.bonett_price_lower(b, c, n) >= -0.01
    )
    assert shown == pytest.approx(0.8, abs=0.05)


@cache
def recorded() -> tuple[latency.Seconds, ...]:
    """Real times of the shipped network on this machine, at three batch sizes."""
    runner = measure.open_runner(FULL.read_bytes(), measure.Bench(cpu_class()))
    inputs = digits.part("test").inputs
    times = [latency.run_times(runner, measure.first_rows(inputs, rows), runs=400) for rows in (1, 8, 32)]
    runner.close()
    return tuple(times)


def called_faster(gates: int, looks: int, pairs: int = 60) -> tuple[int, int]:
    """Races of a version against itself, with times drawn from real ones.

    Returns:
        How many the gate calls a gain in speed, and how many exclude 1 on the faster side at some batch size.
    """
    rng, gains, excluded = np.random.default_rng(3), 0, 0
    for _ in range(gates):
        races = [
            latency.compared(rng.choice(times, pairs), rng.choice(times, pairs), 1, looks=looks) for times in recorded()
        ]
        speedups = tuple(one.speedup_joint_interval_95 for one in races)
        judged = Evidence(Classified(600, 590, 1, 1, 2), 0, True, True, 0.0, 100, 100, speedups=speedups)
        gains += gate.gain_kind(judged) == "speed"
        excluded += any(low > 1 for low, _ in speedups)
    return gains, excluded


def test_an_equally_fast_variant_is_called_faster_once_in_forty_at_most() -> None:
    for count in called_faster(200, looks=3):
        assert count / 200 <= 0.025 + Z * math.sqrt(0.025 * 0.975 / 200)


@pytest.mark.slow
def test_an_equally_fast_variant_is_called_faster_once_in_forty_at_most_long() -> None:
    """Three looks without the correction are the control: several in 100 then exclude 1 by luck."""
    (gains, corrected), (_, plain) = called_faster(600, looks=3), called_faster(600, looks=1)
    assert gains <= corrected
    assert corrected / 600 <= 0.025 + Z * math.sqrt(0.025 * 0.975 / 600)
    assert plain > 1.5 * corrected
