"""Every scenario that comes along, against a real server: the traffic is what its file says, every answer is held, and
what happens beside the traffic does happen. A new file in the folder is covered as it is; `CHECKS` may say more of it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from loadtests import comparison, mixture
from loadtests.arrivals import Profile
from loadtests.measures.observed import Observed
from loadtests.order import Order
from loadtests.outcome import Outcome
from loadtests.planning import plan_of, rate_of
from loadtests.report.document import document
from loadtests.run import run
from loadtests.scenario import Scenario, Swapping, names, read_scenario
from loadtests.watcher import Silent
from models.data.digits import part
from tests.support.process import ServerProcess
from tests.unit.loadtests.blocks import block as made_up_block

ROOT = Path(__file__).parents[2]
RATE = 80.0
# Of a Poisson count, in standard deviations: one block in some ten million is further away.
MOST_SIGMAS = 5.5
# A batch that may grow waits 50 ms, and four requests may wait: of two hundred requests a second most are refused.
NARROW = (
    "dynamic_batching: {max_queue_delay_microseconds: 50000, max_queue_size: 4}\nversions: [1, 1-int8]\nactive: 1\n"
)
REFUSED = "status 503"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("scenarios")
    digits = ROOT / "models" / "repository" / "digits"
    shutil.copytree(digits, folder / "repository" / "digits")
    for version in ("1", "1-int8"):  # without their cards, which are of digits
        (folder / "repository" / "narrow" / version).mkdir(parents=True)
        shutil.copy(digits / version / "model.onnx", folder / "repository" / "narrow" / version)
    (folder / "repository" / "narrow" / "model.yaml").write_text(NARROW)
    with ServerProcess(["--repository", str(folder / "repository")], folder, core=0) as running:
        yield running


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(file, **{name: array[:32] for name, array in part("test").inputs.items()})
    return file


@dataclass
class Connections(Silent):
    """Counts the server's connections after each block."""

    pid: int
    counts: list[int] = field(default_factory=list)

    def step(self, text: str) -> None:
        found = psutil.Process(self.pid).net_connections("tcp")
        self.counts.append(sum(one.status == psutil.CONN_ESTABLISHED for one in found))


@dataclass(frozen=True)
class Played:
    """A scenario that was run."""

    order: Order
    outcome: Outcome
    connections: list[int]

    @property
    def profiles(self) -> list[Profile]:
        """Of each round."""
        rate = rate_of(self.order, {})
        assert rate is not None
        plan = plan_of(self.order, rate)
        return [plan.of_round(number) for number in range(plan.rounds)]


def play(name: str, server: ServerProcess, rows: Path, folder: Path, *, short: bool) -> Played:
    scenario = shortened(read_scenario(name)) if short else read_scenario(name)
    (folder / "trace.txt").write_text("".join(f"{count}\n" for count in (10, 90) * 60))
    order = Order(
        "narrow" if name == "overload" else "digits",
        ("1", "1-int8"),
        (server.url,),
        scenario,
        name,
        data=rows,
        trace=folder / "trace.txt" if scenario.shape == "trace" else None,
        rate=RATE,
        duration_s=0.1 if short else 10.0,  # as few rounds as there may be
    )
    watcher = Connections(server.process.pid)
    return Played(order, run(order, watcher), watcher.counts)


def shortened(scenario: Scenario) -> Scenario:
    if scenario.swap is not None:
        return scenario.model_copy(update={"block_s": 0.4, "swap": Swapping(every_s=0.05)})
    # Half a second of a trace, so that its seconds come in turn.
    return scenario.model_copy(update={"block_s": 0.5 if scenario.shape == "trace" else 0.15})


@pytest.mark.parametrize("short", [True, pytest.param(False, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
@pytest.mark.parametrize("name", names())
def test_a_scenario_does_what_its_file_says(
    name: str, short: bool, server: ServerProcess, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if short:
        monkeypatch.setattr(comparison, "REST_S", 0.02)
        monkeypatch.setattr(mixture, "REST_S", 0.02)
    before = server.http.get("/v2/models/digits/versions").json()
    played = play(name, server, rows, tmp_path, short=short)
    outcome = played.outcome
    assert not outcome.interrupted
    assert len(outcome.blocks) == len(played.profiles) * 2
    assert set(outcome.summaries) == {one.label for one in outcome.entries}
    for label, summary in outcome.summaries.items():
        assert set(summary.errors) <= ({REFUSED} if name == "overload" else set()), label
        assert summary.requests > 0
    if not played.order.scenario.mixed:
        for block in outcome.blocks:
            assert_planned(block, played.profiles[block.round])
    CHECKS.get(name, lambda _: None)(played)
    assert server.http.get("/v2/models/digits/versions").json() == before  # the active version is as it was
    assert server.http.get("/v2/health/ready").status_code == 200


def assert_planned(block: Observed, profile: Profile) -> None:
    """As many requests as the profile says were due in each of its stretches, give or take Poisson's chance."""
    begin_s = 0.0
    for stretch in profile:
        end_s, wanted = begin_s + stretch.duration_s, stretch.rate * stretch.duration_s
        due = int(((block.sent.planned_s >= begin_s) & (block.sent.planned_s < end_s)).sum())
        assert abs(due - wanted) <= MOST_SIGMAS * math.sqrt(wanted) + 1, (begin_s, stretch)
        begin_s = end_s
    assert block.sent.planned_s.max(initial=0.0) <= begin_s


def test_traffic_that_does_not_rise_would_be_noticed() -> None:
    """Negative control: of the same number of requests, evenly spread, a ramp of this size is told apart."""
    profile = read_scenario("ramp").profile(RATE)
    even = made_up_block(np.ones(round(sum(stretch.rate * stretch.duration_s for stretch in profile))), lasts_s=4.0)
    with pytest.raises(AssertionError):
        assert_planned(even, profile)


def due_in(played: Played, begin: float, end: float) -> int:
    """Requests that were due between two shares of all blocks."""
    lasts_s = played.order.scenario.block_s
    shares = np.concatenate([block.sent.planned_s for block in played.outcome.blocks]) / lasts_s
    return int(((shares >= begin) & (shares < end)).sum())


def check_ramp(played: Played) -> None:
    achieved = [due_in(played, at / 4, (at + 1) / 4) for at in range(4)]
    assert sum(achieved[:2]) < sum(achieved[2:]) and achieved[3] > 2 * achieved[0]


def check_burst(played: Played) -> None:
    calm, burst = due_in(played, 0, 0.45), due_in(played, 0.45, 0.55)
    assert burst > calm  # a tenth of the time at ten times the rate, against half of it


def check_trace(played: Played) -> None:
    """The recorded seconds are calm and busy in turn, and so are the rounds that replay them."""
    rates = [sum(stretch.rate * stretch.duration_s for stretch in profile) for profile in played.profiles]
    counts = [sum(len(b.sent.planned_s) for b in played.outcome.blocks if b.round == at) for at in range(len(rates))]
    if max(rates) > 2 * min(rates):
        assert min(c for c, r in zip(counts, rates, strict=True) if r == max(rates)) > max(
            c for c, r in zip(counts, rates, strict=True) if r == min(rates)
        )


def check_overload(played: Played) -> None:
    """Some are answered, all others are refused at once and counted as that."""
    for label, summary in played.outcome.summaries.items():
        refused = summary.errors.get(REFUSED, 0)
        assert 0 < refused < summary.requests, label
        blocks = [block for block in played.outcome.blocks if block.version == label]
        assert sum(int(block.good.sum()) for block in blocks) == summary.requests - refused
        assert sum(len(block.sent.planned_s) for block in blocks) == summary.requests


def check_slow_clients(played: Played) -> None:
    slow = played.order.scenario.slow_clients
    assert slow is not None
    # Beside most blocks: those that the server let go, all at once, are there again when their machine comes to them.
    assert sum(count >= slow.count for count in played.connections) > len(played.connections) // 3


def check_swap(played: Played) -> None:
    outcome = played.outcome
    assert len(outcome.marks) >= 5
    assert all(mark.text in ("swap to 1", "swap to 1-int8") for mark in outcome.marks)
    swapped = [block for block in outcome.blocks if block.version == "swapped"]
    for mark in outcome.marks:
        assert any(one.sent.began_s - 1 <= mark.at_s <= one.sent.began_s + one.lasts_s + 10 for one in swapped)
    assert {version for block in swapped for version in block.sent.versions} == {"1", "1-int8"}
    told = document(outcome)
    assert len(told.marks) == len(outcome.marks)
    assert {"1", "1-int8"} <= {stretch.version for stretch in told.timeline}


def check_mixed(played: Played) -> None:
    first, second = (summary.requests for summary in played.outcome.summaries.values())
    assert abs(first - second) <= MOST_SIGMAS * math.sqrt(first + second)  # each names one of the two by chance
    rounds = [block.sent.began_s for block in played.outcome.blocks]
    assert rounds[0::2] == rounds[1::2]  # at the same time


CHECKS: dict[str, Callable[[Played], None]] = {
    "ramp": check_ramp,
    "burst": check_burst,
    "trace": check_trace,
    "overload": check_overload,
    "slow-clients": check_slow_clients,
    "swap": check_swap,
    "mixed": check_mixed,
}


def test_every_check_is_of_a_scenario_that_is_there() -> None:
    assert CHECKS.keys() <= set(names())


def test_an_overload_of_a_model_that_carries_it_is_told_apart(
    server: ServerProcess, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with room in the queue nobody is refused, and the check says so."""
    monkeypatch.setattr(comparison, "REST_S", 0.02)
    played = play("steady", server, rows, tmp_path, short=True)
    with pytest.raises(AssertionError):
        check_overload(played)
    with pytest.raises(AssertionError):
        check_ramp(played)
    with pytest.raises(AssertionError):
        check_slow_clients(replace(played, order=replace(played.order, scenario=read_scenario("slow-clients"))))
