"""Runs an order from the first question to the outcome: rows, reference answers, knees, comparison, what it means.

Ctrl-C at any time ends the measuring, and the outcome holds what there was; no process is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from loadtests import findings, swaps
from loadtests.advice import disowned, sentence
from loadtests.comparison import Plan, compare
from loadtests.contenders import Field, gather
from loadtests.disturbances import Mark, slow_clients
from loadtests.generator.process import Generator
from loadtests.knee import Search
from loadtests.knees import BOUND, find_knees, notes
from loadtests.machine import describe, libraries
from loadtests.measures.observed import Observed, by_version
from loadtests.measures.summary import Summary
from loadtests.mixture import compare_mixed
from loadtests.order import Order
from loadtests.outcome import Knee, Outcome
from loadtests.peers import in_common
from loadtests.planning import plan_of, rate_of, seeks_knees, traffic_of
from loadtests.server import CannotLoad, Server, ServerGone
from loadtests.verdict import Versus
from loadtests.watcher import SILENT, Watcher


@dataclass(slots=True)
class _Run:
    """A run, and what it has so far."""

    order: Order
    watcher: Watcher
    generator: Generator
    field: Field
    knees: Mapping[str, Knee] = field(default_factory=dict)
    plan: Plan | None = None
    blocks: list[Observed] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def run(order: Order, watcher: Watcher = SILENT) -> Outcome:
    """Runs it.

    Raises:
        CannotLoad: a server or version does not answer, or the scenario does not fit them.
        ServerGone: a server ended while the knees were looked for.
        BadRows, BadScenario, BadTrace: a file is not what it should be.
        GeneratorDied: the generator's process ended by itself.
        KeyboardInterrupt: before any load.
    """
    began_at, machine = datetime.now(UTC).isoformat(timespec="seconds"), describe(order.cores)
    if order.rate is not None:
        plan_of(order, order.rate)  # a bad trace is told before any load
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(url, order.key, order.ca)) for url in order.urls]
        order, notes = in_common(order, servers)
        watcher.say("asking each version, one row at a time, for what it answers")
        taking_part = gather(order, servers)
        if order.scenario.mixed and len(servers) > 1:
            raise CannotLoad("a mixed scenario is of one server: name one --url.")
        going = _Run(order, watcher, stack.enter_context(Generator(order.cores)), taking_part, notes=notes)
        _seek_knees(going)
        _compare(going)
    return _outcome(going, began_at, machine)


def _seek_knees(going: _Run) -> None:
    order, limit_ms = going.order, going.order.limit_ms
    if not seeks_knees(order):
        return
    if limit_ms is None:
        raise CannotLoad("a knee is the highest rate that meets an objective: give --slo-p99-ms, or a --rate.")

    def tell(label: str, search: Search) -> None:
        rate, met = search.tried[-1]
        going.watcher.say(f"{label}: p99 <= {limit_ms:g} ms {'holds' if met else 'does not hold'} at {rate:.0f}/s")

    going.knees, ended = find_knees(
        going.field.contenders, going.generator, limit_ms=limit_ms, seed=order.seed, on_try=tell
    )
    going.interrupted = not ended
    going.notes += notes(going.knees)


def _compare(going: _Run) -> None:
    if going.interrupted:
        return
    order, rate = going.order, rate_of(going.order, going.knees)
    if rate is None:
        without = ", ".join(label for label, knee in going.knees.items() if knee.rate is None)
        late = any(knee.generator_bound for knee in going.knees.values() if knee.rate is None)
        why = "there is none to compare at" if not late else f"in most tries {BOUND}"
        going.problems.append(f"No rate meets p99 <= {order.limit_ms:g} ms for {without}: {why}.")
        return
    going.plan = plan = plan_of(order, rate)
    with ExitStack() as stack:
        if order.scenario.swap is not None:
            server = going.field.contenders[0].server
            going.field = swaps.left_alone_and_swapped(going.field, order, order.scenario.swap, going.marks)
            stack.enter_context(swaps.put_back(server, order.model))
        for one in going.field.contenders:
            if order.scenario.slow_clients is not None and one.pool.protocol == "http":
                request = one.pool.requests[0]
                slow = slow_clients(one.pool.address, request, order.scenario.slow_clients, one.pool.tls)
                stack.enter_context(slow)
        _measure(going, plan, rate)


def _measure(going: _Run, plan: Plan, rate: float) -> None:
    contenders = going.field.contenders
    expected = plan.rounds * len(contenders)
    going.watcher.say(f"comparing at {rate:.0f}/s: {plan.rounds} rounds of {len(contenders)} blocks, in random order")
    going.watcher.expect(expected)
    how: Callable[..., list[Observed]] = compare_mixed if going.order.scenario.mixed else compare
    servers = {one.label: one.server for one in contenders}

    def over(block: Observed) -> None:
        going.blocks.append(block)
        going.watcher.step(f"round {block.round + 1}: {block.version}")
        if block.reached_nobody and not servers[block.version].comes_back():
            raise ServerGone(f"{servers[block.version].url} does not answer any more since round {block.round + 1}.")

    try:
        how(contenders, plan, going.generator, on_block=over, sleep=time.sleep)
    except ServerGone as gone:
        going.problems.append(str(gone))
    else:
        going.interrupted = len(going.blocks) < expected


def _outcome(going: _Run, began_at: str, machine: Mapping[str, str]) -> Outcome:
    order, entries = going.order, going.field.entries
    blocks = by_version(going.blocks)
    figures = findings.summaries(blocks, order.limit_ms, seed=order.seed)
    found = findings.differences(entries, going.field.contenders, blocks, going.knees)
    problems = (*going.problems, *swaps.problems(going.marks), *findings.problems(figures, blocks))
    return Outcome(
        model=order.model,
        entries=entries,
        traffic=traffic_of(order, going.plan, going.field.rows),
        limit_ms=order.limit_ms,
        blocks=tuple(going.blocks),
        summaries=figures,
        versus=found,
        sentences=tuple(_sentence(going, one, figures, valid=not problems) for one in found),
        knees=going.knees,
        marks=tuple(going.marks),
        asked=findings.held(order.requirements, entries, figures, found),
        problems=problems,
        notes=tuple(going.notes),
        interrupted=going.interrupted,
        command=order.command,
        began_at=began_at,
        machine=machine,
        libraries=libraries(),
    )


def _sentence(going: _Run, one: Versus, figures: Mapping[str, Summary], *, valid: bool) -> str:
    if going.order.scenario.swap is not None:
        said = swaps.sentence(one, figures[one.version], going.marks)
        return said if valid else disowned(said)
    return sentence(findings.case_of(one, going.field.entries, figures, valid=valid))
