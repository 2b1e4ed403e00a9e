"""Runs a comparison: rounds of blocks, one for each version in random order, under one schedule of arrivals.

Within a round every version meets the same arrivals and rows, so that what differs is the version. Blocks are short
and rounds many: a slow spell of the machine falls on all. Interrupted, it gives what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from loadtests.arrivals import Profile, Seconds, duration_s
from loadtests.generator.block import Block, Sent
from loadtests.generator.process import Generator
from loadtests.measures.observed import Observed
from loadtests.pools import Pool
from loadtests.server import Server

REST_S = 0.2


@dataclass(frozen=True, slots=True)
class Contender:
    """One version at one server.

    Attributes:
        label: how the report names it.
        server: that serves it.
        model: its name there.
        version: its id; "" for whichever answers.
        pool: its requests.
        during: what goes on beside each of its blocks.
    """

    label: str
    server: Server
    model: str
    version: str
    pool: Pool
    during: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent.

    Attributes:
        profile: of one block; of the first round's where they vary.
        draw: arrival times from the profile and a generator of random numbers.
        rounds: how many.
        seed: of all that is drawn.
        timeout_s: an answer that takes longer is none.
        connections: that each block begins with.
        later: profiles of the rounds after the first, in turn with it, where they vary: other parts of one trace.
    """

    profile: Profile
    draw: Callable[[Profile, np.random.Generator], Seconds]
    rounds: int
    seed: int = 0
    timeout_s: float = 10.0
    connections: int = 16
    later: tuple[Profile, ...] = ()

    def of_round(self, number: int) -> Profile:
        """The profile of a round's blocks."""
        profiles = (self.profile, *self.later)
        return profiles[number % len(profiles)]


def compare(
    contenders: Sequence[Contender],
    plan: Plan,
    generator: Generator,
    *,
    on_block: Callable[[Observed], None] = lambda _: None,
    sleep: Callable[[float], None],
) -> list[Observed]:
    """Runs all rounds; KeyboardInterrupt ends it early, and what was measured is given.

    Args:
        contenders: whose labels differ.
        plan: what is sent.
        generator: that sends it; the pools are prepared here.
        on_block: called after each block.
        sleep: rests between blocks, so that what one leaves in the queue is gone before the next.
    """
    generator.prepare({one.label: one.pool for one in contenders})

    def blocks(number: int, random: np.random.Generator) -> Iterator[Observed]:
        planned = plan.draw(plan.of_round(number), random)
        draws = random.random(len(planned))
        for at in random.permutation(len(contenders)):
            yield _block(contenders[at], number, plan, generator, planned, draws)
            sleep(REST_S)

    return all_rounds(plan, blocks, on_block)


def all_rounds(
    plan: Plan,
    blocks: Callable[[int, np.random.Generator], Iterator[Observed]],
    on_block: Callable[[Observed], None],
) -> list[Observed]:
    """The blocks of all rounds, or of those before a KeyboardInterrupt.

    Args:
        plan: how many rounds, and the seed.
        blocks: gives the blocks of the round of this number, as they are measured.
        on_block: called after each block.
    """
    random = np.random.default_rng(plan.seed)
    seen: list[Observed] = []
    try:
        for number in range(plan.rounds):
            for observed in blocks(number, random):
                seen.append(observed)
                on_block(observed)
    except KeyboardInterrupt:
        pass
    return seen


def _block(one: Contender, number: int, plan: Plan, generator: Generator, planned: Seconds, draws: Seconds) -> Observed:
    rows = (draws * len(one.pool.requests)).astype(np.int32)
    block = Block(one.label, planned, rows, plan.timeout_s, plan.connections)
    before = one.server.counters(one.model, one.version)
    with one.during():
        sent: Sent = generator.send(block)
    after = one.server.counters(one.model, one.version)
    return Observed(
        one.label, number, sent, duration_s(plan.of_round(number)), after.since(before), one.pool.rows.labels
    )
