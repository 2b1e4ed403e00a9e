"""Two real processes on loopback train as one does: equal gradients, equal weights, and a kill that costs nothing."""

import dataclasses
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train import distributed  # noqa: E402
from models.train.distributed import Ranks  # noqa: E402
from models.train.launch import RankDied, launch  # noqa: E402
from tests.unit.models.train import ranks as entries  # noqa: E402

TRAIN = f"{entries.__name__}:train"
CASES = {
    "plain": {},
    "norm": {"kind": "norm"},
    "last-of-one": {"kind": "norm", "rows": 97},  # the last batch is one row: rank 0 has none
    "distil": {"distil": True},
    "unweighted": {"weighted": False},
    "unsynchronised": {"kind": "norm", "synchronised": False},
}
RIGHT = {"weighted": True, "synchronised": True}
GRADIENTS, WEIGHTS = 1e-6, 1e-5


def found(folder: Path, rank: int, count: int):  # type: ignore[no-untyped-def]
    return torch.load(folder / f"rank-{rank}-of-{count}.pt")


def apart(one, other) -> float:  # type: ignore[no-untyped-def]
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case trained by two processes, and by this one alone."""
    folder = tmp_path_factory.mktemp("together")
    for name in CASES:
        (folder / name).mkdir()
    launch(2, f"{entries.__name__}:train_each", {"folder": str(folder), "cases": CASES}, stuck_s=60)
    alone = {name: {**arguments, **RIGHT} for name, arguments in CASES.items() if name != "last-of-one"}
    entries.train_each(str(folder), alone)
    return folder


@pytest.mark.parametrize("case", ["plain", "norm", "distil"])
def test_gradients_and_weights_are_those_of_one_process(together: Path, case: str) -> None:
    """Nine batches, the last one of 7 rows, of which one rank has 3 and the other 4."""
    one, two = found(together / case, 0, 1), found(together / case, 0, 2)
    gaps = [(a - b).abs().max().item() for a, b in zip(one["gradients"], two["gradients"], strict=True)]
    assert len(gaps) == 9
    assert max(gaps) < GRADIENTS
    assert max(a.abs().max().item() for a in one["gradients"]) > 1000 * GRADIENTS
    assert apart(one["weights"], two["weights"]) < WEIGHTS


@pytest.mark.parametrize("case", ["plain", "norm", "distil", "last-of-one"])
def test_all_ranks_end_with_the_same_weights_to_the_bit(together: Path, case: str) -> None:
    assert apart(found(together / case, 0, 2)["weights"], found(together / case, 1, 2)["weights"]) == 0


def test_a_rank_without_rows_adds_nothing(together: Path) -> None:
    """One row and batch normalisation: its output is constant, and so only the last bias of all layers has a gradient.

    One process alone refuses such a batch; two must not divide by zero, and must not count the empty share.
    """
    last = found(together / "last-of-one", 0, 2)["gradients"][-1]
    assert torch.isfinite(last).all()
    assert last[-2:].abs().max() > GRADIENTS


def test_negative_control_shares_that_count_alike_give_another_gradient(together: Path) -> None:
    one, two = found(together / "unweighted", 0, 1), found(together / "unweighted", 0, 2)
    gaps = [(a - b).abs().max().item() for a, b in zip(one["gradients"], two["gradients"], strict=True)]
    assert max(gaps[:-1]) < GRADIENTS  # shares of six and six
    assert gaps[-1] > 1000 * GRADIENTS  # of three and four


def test_negative_control_statistics_of_each_rank_alone_give_another_gradient(together: Path) -> None:
    one, two = found(together / "unsynchronised", 0, 1), found(together / "unsynchronised", 0, 2)
    assert (one["gradients"][0] - two["gradients"][0]).abs().max() > 1000 * GRADIENTS


def test_the_launcher_leaves_no_handler_behind(together: Path) -> None:
    """With torch's own in place the next SIGTERM to this process would raise an exception of its launcher."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert not any("elastic" in (getattr(one, "__module__", None) or "") for one in handlers)


def test_only_rank_0_writes_a_checkpoint(together: Path) -> None:
    assert sorted(path.name for path in (together / "plain").glob("run*")) == ["run-of-1.pt", "run-of-2.pt"]


def test_a_killed_rank_ends_the_run_by_name_and_nothing_is_lost(tmp_path: Path, together: Path) -> None:
    """Rank 1 dies in the middle of the epoch, after step 5; the last checkpoint is of step 4."""
    start_s = time.monotonic()
    with pytest.raises(RankDied, match=r"Rank 1 of 2 was killed by SIGKILL"):
        launch(2, TRAIN, {"folder": str(tmp_path), "die_at": [1, 5, 1, signal.SIGKILL]}, stuck_s=600)
    assert time.monotonic() - start_s < 100  # far less than what a wait for the dead would take
    assert [path.name for path in tmp_path.iterdir()] == ["run-of-2.pt"]
    launch(2, TRAIN, {"folder": str(tmp_path)}, stuck_s=60)
    resumed = found(tmp_path, 0, 2)
    assert len(resumed["gradients"]) == 9 - 4
    assert apart(resumed["weights"], found(together / "plain", 0, 2)["weights"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("rank", [0, 1])
def test_dropout_goes_on_where_it_was_on_every_rank(tmp_path: Path, rank: int, number: int) -> None:
    """SIGTERM to one rank: all save after the same step, and leave."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    more = {"kind": "dropout", "epochs": 2}
    launch(2, TRAIN, {"folder": str(whole), **more}, stuck_s=60)
    with pytest.raises((RankDied, KeyboardInterrupt)):
        launch(2, TRAIN, {"folder": str(broken), "die_at": [2, 3, rank, number], **more}, stuck_s=60)
    launch(2, TRAIN, {"folder": str(broken), **more}, stuck_s=60)
    for each in (0, 1):
        assert apart(found(broken, each, 2)["weights"], found(whole, each, 2)["weights"]) == 0
    saved_at = 9 + (4 if number == signal.SIGTERM else 2)
    assert len(found(broken, 0, 2)["gradients"]) == 18 - saved_at


@pytest.mark.slow
def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    launch(2, TRAIN, {"folder": str(tmp_path)}, stuck_s=60)
    (tmp_path / "run-of-2.pt").rename(tmp_path / "run-of-1.pt")
    with pytest.raises(ValueError, match=r"run-of-1\.pt was written by another number of processes"):
        entries.train(str(tmp_path))


@pytest.mark.parametrize(("rows", "count"), [(12, 2), (7, 2), (1, 2), (10, 3), (2, 5)])
def test_shares_are_disjoint_whole_and_almost_equal(rows: int, count: int) -> None:
    shares = [range(rows)[Ranks(rank, count).share(rows)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_weights_of_all_shares_average_to_one() -> None:
    ranks = [Ranks(rank, 3) for rank in range(3)]
    own = [len(range(10)[rank.share(10)]) for rank in ranks]
    assert sum(rank.weight(n, 10) for rank, n in zip(ranks, own, strict=True)) == pytest.approx(3)
    assert Ranks().weight(4, 10) == 1.0


def test_alone_nothing_is_wrapped_and_nothing_exchanged() -> None:
    ranks, network = Ranks.current(), entries.network("norm")
    assert dataclasses.astuple(ranks)[:2] == (0, 1)
    assert ranks.wrap(network) is network
    assert ranks.total([1.5, True]) == [1.5, 1]
    assert ranks.gather(torch.ones(2))[0].tolist() == [1, 1]
    with distributed.global_statistics(network, ranks):
        assert "forward" not in vars(network[1])
