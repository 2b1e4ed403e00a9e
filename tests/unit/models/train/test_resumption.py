"""A run that was ended anywhere goes on to the same weights, to the bit; another run's checkpoint is refused."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train import resumption  # noqa: E402
from models.train.checkpoint import BadCheckpoint, Checkpoint  # noqa: E402
from models.train.distributed import Ranks  # noqa: E402
from models.train.examples import Examples  # noqa: E402
from models.train.interruption import interruption  # noqa: E402
from models.train.loop import Step, Trainer, TrainSettings  # noqa: E402
from models.train.networks import reproducible  # noqa: E402
from models.train.progress import Position  # noqa: E402
from models.train.resumption import Moving, Resumption  # noqa: E402

SETTINGS = TrainSettings(epochs=3, batch_rows=16, learning_rate=0.05, patience=6, seed=3)


def clouds(n: int, seed: int) -> Examples:
    labels = torch.arange(n) % 2
    inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + 1.5 * labels.unsqueeze(1)
    return Examples((inputs,), labels)


def network(width: int = 8):  # type: ignore[no-untyped-def]
    reproducible(3)
    return torch.nn.Sequential(
        torch.nn.Linear(4, width),
        torch.nn.BatchNorm1d(width),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(width, 2),
    )


def noise(batch, generator):  # type: ignore[no-untyped-def]
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


def trainer(net, kept: Checkpoint | Path | None, settings: TrainSettings = SETTINGS, rows: int = 90) -> Trainer:  # type: ignore[no-untyped-def]
    return Trainer(net, clouds(rows, 0), clouds(64, 1), settings, augment=noise, checkpoint=kept)


def weights(net):  # type: ignore[no-untyped-def]
    return torch.cat([value.double().flatten() for value in net.state_dict().values()])


@pytest.fixture(scope="module")
def whole():  # type: ignore[no-untyped-def]
    net = network()
    return trainer(net, None).run(), weights(net)


class Killed(Exception):
    pass


def kill_after(epoch: int, number: int):  # type: ignore[no-untyped-def]
    def on_step(step: Step) -> None:
        if (step.epoch, step.number) == (epoch, number):
            raise Killed

    return on_step


@pytest.mark.parametrize(("epoch", "number", "seen_again"), [(1, 3, 1), (2, 1, 1), (2, 6, 2), (3, 5, 1)], ids=str)
def test_killed_in_the_middle_of_an_epoch(tmp_path: Path, whole, epoch: int, number: int, seen_again: int) -> None:  # type: ignore[no-untyped-def]
    """Six steps an epoch, a checkpoint after every second: what is lost is done again, and nothing else is."""
    kept = Checkpoint(tmp_path / "run.pt", every_steps=2)
    with pytest.raises(Killed):
        trainer(network(), kept).run(on_step=kill_after(epoch, number))
    steps: list[Step] = []
    resumed = network()
    history = trainer(resumed, kept).run(on_step=steps.append)
    assert torch.equal(weights(resumed), whole[1])
    assert history == whole[0]
    assert len(steps) == 18 - (6 * (epoch - 1) + number) + seen_again
    assert (steps[-1].epoch, steps[-1].number, steps[-1].of) == (3, 6, 6)


def test_negative_control_a_lost_random_state_gives_other_weights(
    tmp_path: Path,
    whole,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Checkpoint(tmp_path / "run.pt", every_steps=2)
    with pytest.raises(Killed):
        trainer(network(), kept).run(on_step=kill_after(2, 3))
    monkeypatch.setattr(resumption, "_set_random_states", lambda states, device: None)
    resumed = network()
    trainer(resumed, kept).run()
    assert not torch.equal(weights(resumed), whole[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_saves_and_leaves(tmp_path: Path, whole, number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "run.pt"
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(step: Step) -> None:
        if (step.epoch, step.number) == (2, 3):
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        trainer(network(), path).run(on_step=interrupt)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    steps: list[Step] = []
    resumed = network()
    trainer(resumed, path).run(on_step=steps.append)
    assert torch.equal(weights(resumed), whole[1])
    assert (steps[0].epoch, steps[0].number) == (2, 5)


def test_a_second_ctrl_c_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), interruption() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        assert noted.asked
        os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_nothing_is_noted_and_training_works(whole) -> None:  # type: ignore[no-untyped-def]
    found = []

    def work() -> None:
        net = network()
        trainer(net, None).run()
        found.append(weights(net))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert torch.equal(found[0], whole[1])


def test_time_alone_makes_checkpoints(tmp_path: Path) -> None:
    now_s = [100.0]
    net = network()
    method = torch.optim.SGD(net.parameters(), lr=0.1)
    moving = Moving(net, method, torch.optim.lr_scheduler.ConstantLR(method), torch.Generator())
    kept = Resumption(Checkpoint(tmp_path / "run.pt", every_s=60), moving, Ranks(), now_s=lambda: now_s[0])
    kept.resume(SETTINGS, clouds(8, 0), clouds(8, 1))
    assert not kept.due(1)
    now_s[0] = 160.0
    assert kept.due(2)
    kept.save(Position())
    assert not kept.due(3)
    assert (tmp_path / "run.pt").exists()


def test_only_rank_0_asks_for_one(tmp_path: Path) -> None:
    net = network()
    method = torch.optim.SGD(net.parameters(), lr=0.1)
    moving = Moving(net, method, torch.optim.lr_scheduler.ConstantLR(method), torch.Generator())
    due = [
        Resumption(Checkpoint(tmp_path / "run.pt", every_steps=2), moving, Ranks(rank, 2)).due(4) for rank in range(2)
    ]
    assert due == [True, False]


@pytest.mark.parametrize(
    ("settings", "rows", "width", "reason"),
    [
        (replace(SETTINGS, seed=4), 90, 8, "with other settings"),
        (SETTINGS, 91, 8, "on other data"),
        (SETTINGS, 90, 9, "for another network"),
    ],
)
def test_another_runs_checkpoint_is_refused(
    tmp_path: Path, settings: TrainSettings, rows: int, width: int, reason: str
) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(Killed):
        trainer(network(), Checkpoint(path, every_steps=1)).run(on_step=kill_after(1, 2))
    before = path.read_bytes()
    net = network(width)
    fresh = weights(net)
    with pytest.raises(BadCheckpoint, match=rf"run\.pt was written {reason}; remove it to start anew"):
        trainer(net, path, settings, rows).run()
    assert torch.equal(weights(net), fresh)
    assert path.read_bytes() == before


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    trainer(network(), path).run()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadCheckpoint, match=r"run\.pt was cut short"):
        trainer(network(), path).run()


KILLED = """
import os, signal, sys
from pathlib import Path
from models.train.checkpoint import Checkpoint
from tests.unit.models.train import test_resumption as this
def on_step(step):
    if (step.epoch, step.number) == (2, 4):
        os.kill(os.getpid(), signal.SIGKILL)
this.trainer(this.network(), Checkpoint(Path(sys.argv[1]), every_steps=1)).run(on_step=on_step)
"""


@pytest.mark.slow
def test_a_killed_process_loses_one_step(tmp_path: Path, whole) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "run.pt"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    resumed, steps = network(), []
    trainer(resumed, path).run(on_step=steps.append)
    assert torch.equal(weights(resumed), whole[1])
    assert (steps[0].epoch, steps[0].number) == (2, 4)
