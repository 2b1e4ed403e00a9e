"""The whole search for one model: what is tried, in which order, and how much of the budget each part may take.

Two stages: how the cores are divided among instances, then batch limit and delay. Then what of the best one's changes
matters, and fresh rounds of what is left of it against the present configuration. An interruption gives what was
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from loadtests.generator.process import Generator
from loadtests.measures.resampling import Figure
from loadtests.tune.bench import Bench
from loadtests.tune.found import Found
from loadtests.tune.halving import as_figure
from loadtests.tune.model_yaml import present_settings
from loadtests.tune.order import Order
from loadtests.tune.pruning import prune
from loadtests.tune.servers import Servers
from loadtests.tune.settings import PRESENT, Settings, batchings, shapes

FINAL_ROUNDS = 8
# Of each change that is put back, and how much of the budget is kept for all of them.
PRUNING_ROUNDS = 8
PRUNING_SHARE = 0.25


def search(order: Order, *, tell: Callable[[str], None] = lambda _sentence: None) -> Found:
    """Runs the search; a KeyboardInterrupt ends it with what there is, and no server is left.

    Args:
        order: what is asked for.
        tell: told a few words of each step.

    Raises:
        CannotLoad, BadRows, BadYaml: the present configuration cannot be served, read or loaded.
    """
    found = Found(present_settings(order.yaml()))
    try:
        with Servers(order.folder, order.server_cores) as servers, Generator(order.generator_cores) as generator:
            bench = Bench(order, servers, generator, found, tell)
            try:
                _search(order, bench, found)
            finally:
                bench.note()
        found.complete = True
    except KeyboardInterrupt:
        tell("interrupted")
    return found


def _search(order: Order, bench: Bench, found: Found) -> None:
    bench.start([PRESENT])
    bench.choose_objective()
    final_s = FINAL_ROUNDS * 2 * bench.step_s
    kept_s = final_s + PRUNING_SHARE * order.budget_s
    cores = len(order.server_cores) or 1
    shape = _stage(bench, shapes(cores, found.present), kept_s) if cores > 1 else PRESENT
    best = _stage(bench, batchings(shape, found.present), kept_s)
    if best == PRESENT:
        return
    bench.must_leave(final_s)
    found.best = prune(best, lambda whole, shorter: _weigh(bench, whole, shorter), found.weighed)
    bench.keep([PRESENT, found.best])
    bench.must_leave(0)
    bench.tell(f"the best so far against the present one: {found.best}")
    found.ratio, found.rounds = bench.race.final(found.best, rounds=FINAL_ROUNDS)


def _stage(bench: Bench, candidates: Sequence[Settings], kept_s: float) -> Settings:
    """The best of these; as many of them as there is time for."""
    bench.must_leave(kept_s)
    each_s = bench.start_s + 2 * 2 * bench.step_s
    fits = int(max(bench.left_s, 0) // each_s)
    bench.leave_out(candidates[fits:])
    running = bench.start(candidates[:fits])
    if not running:
        return PRESENT
    best = bench.race.stage(running)
    bench.keep([PRESENT, best])
    return best


def _weigh(bench: Bench, whole: Settings, shorter: Sequence[Settings]) -> Mapping[Settings, Figure]:
    """Scores of the shorter ones / the whole one's; none where there is no time for all of the rounds."""
    bench.tell(f"which of these matter: {whole}")
    bench.keep([PRESENT, whole, *shorter])
    rounds_s = PRUNING_ROUNDS * (len(shorter) + 1) * bench.step_s
    if bench.left_s < len(shorter) * bench.start_s + rounds_s:
        bench.tell("no time to see which of the changes matter: raise --budget")
        return {}
    running = bench.start(shorter)
    seen = bench.race.beside(whole, running, rounds=PRUNING_ROUNDS)
    return {one: as_figure(ratios) for one, ratios in seen.items() if len(ratios) == PRUNING_ROUNDS}
