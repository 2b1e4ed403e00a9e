"""All versions at once: one stream of requests, each of which names one of the versions by chance.

Afterwards the stream is taken apart, so that each version has its own blocks as in a comparison one after the other.
What the server's process used cannot be told apart, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loadtests.arrivals import duration_s
from loadtests.comparison import REST_S, Contender, Plan, all_rounds
from loadtests.generator.block import Block, Sent
from loadtests.generator.process import Generator
from loadtests.measures.observed import Observed
from loadtests.pools import Pool, Rows

MIXED = "all versions"


def compare_mixed(
    contenders: Sequence[Contender],
    plan: Plan,
    generator: Generator,
    *,
    on_block: Callable[[Observed], None] = lambda _: None,
    sleep: Callable[[float], None],
) -> list[Observed]:
    """As `comparison.compare`; a round is one block of all. The plan's rate is that of all versions together."""
    generator.prepare({MIXED: mixture([one.pool for one in contenders])})

    def blocks(number: int, random: np.random.Generator) -> Iterator[Observed]:
        yield from _round(contenders, number, plan, generator, random)
        sleep(REST_S)

    return all_rounds(plan, blocks, on_block)


def mixture(pools: Sequence[Pool]) -> Pool:
    """One pool of all requests of pools of one server, one version's after the other's."""
    first = pools[0]
    expected = None
    if all(pool.rows.expected is not None for pool in pools):
        names = first.rows.expected or {}
        expected = {name: np.concatenate([(pool.rows.expected or {})[name] for pool in pools]) for name in names}
    inputs = {name: np.concatenate([pool.rows.inputs[name] for pool in pools]) for name in first.rows.inputs}
    return replace(
        first,
        requests=tuple(request for pool in pools for request in pool.requests),
        rows=Rows(inputs, expected=expected, source=first.rows.source),
        version="",
        versions=tuple(pool.version for pool in pools for _ in pool.requests),
    )


def part(sent: Sent, chosen: NDArray[np.bool_], first_row: int) -> Sent:
    """The chosen requests of a block; rows are counted from `first_row` on."""
    arrays = {
        name: getattr(sent, name)[chosen] for name in ("planned_s", "sent_s", "done_s", "status", "checked", "classes")
    }
    return Sent(began_s=sent.began_s, rows=sent.rows[chosen] - np.int32(first_row), **arrays)


def _round(
    contenders: Sequence[Contender], number: int, plan: Plan, generator: Generator, random: np.random.Generator
) -> list[Observed]:
    profile = plan.of_round(number)
    planned = plan.draw(profile, random)
    rows = len(contenders[0].pool.rows)
    who = random.integers(0, len(contenders), len(planned))
    at = (who * rows + random.integers(0, rows, len(planned))).astype(np.int32)
    before = [one.server.counters(one.model, one.version) for one in contenders]
    sent = generator.send(Block(MIXED, planned, at, plan.timeout_s, plan.connections))
    found = []
    for place, one in enumerate(contenders):
        told = one.server.counters(one.model, one.version).since(before[place])
        own = part(sent, who == place, place * rows)
        side = replace(told, cpu_s=None, joules=None)
        found.append(Observed(one.label, number, own, duration_s(profile), side, one.pool.rows.labels))
    return found
