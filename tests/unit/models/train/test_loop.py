"""The training loop on a problem of two clouds: it learns, repeats, stops early, and survives an interruption."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.examples import Examples  # noqa: E402
from models.train.loop import Epoch, Trainer, TrainSettings  # noqa: E402
from models.train.networks import reproducible  # noqa: E402

SETTINGS = TrainSettings(epochs=6, batch_rows=16, learning_rate=0.05, patience=6, seed=3)


def clouds(n: int, seed: int, shift: float = 1.5):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return Examples((torch.randn(n, 4, generator=generator) + shift * labels.unsqueeze(1),), labels)


def network(seed: int = 3):  # type: ignore[no-untyped-def]
    reproducible(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2)
    )


def trainer(net, settings: TrainSettings = SETTINGS, **more) -> Trainer:  # type: ignore[no-untyped-def]
    return Trainer(net, clouds(96, seed=0), clouds(64, seed=1), settings, **more)


def trained(seed: int = 3, **more):  # type: ignore[no-untyped-def]
    net = network(seed)
    trainer(net, **more).run()
    return net


def weights(net):  # type: ignore[no-untyped-def]
    return torch.cat([value.double().flatten() for value in net.state_dict().values()])


def test_it_learns() -> None:
    history = trainer(network()).run()
    assert len(history) == 6
    assert history[-1].training_loss < history[0].training_loss
    assert max(epoch.development_accuracy for epoch in history) > 0.85


def test_two_runs_give_the_same_weights_to_the_bit() -> None:
    first = trained()
    torch.rand(17)  # whatever else the process drew in between
    assert torch.equal(weights(first), weights(trained()))


def test_negative_control_another_seed_gives_other_weights() -> None:
    assert not torch.equal(weights(trained(seed=3)), weights(trained(seed=4)))


def test_the_best_epochs_weights_are_kept_and_the_network_is_left_in_eval_mode() -> None:
    net = network()
    best: list[Epoch] = []

    def note(epoch: Epoch) -> None:
        if epoch.best:
            best.append(epoch)

    trainer(net, TrainSettings(epochs=12, batch_rows=16, learning_rate=0.5, patience=12, seed=3)).run(note)
    development = clouds(64, seed=1)
    assert not net.training
    loss = torch.nn.functional.cross_entropy(net(*development.inputs), development.labels).item()
    assert loss == pytest.approx(best[-1].development_loss, abs=1e-6)


def test_it_stops_when_the_development_loss_no_longer_falls() -> None:
    impatient = TrainSettings(epochs=50, batch_rows=16, learning_rate=0.5, patience=2, seed=3)
    history = trainer(network(), impatient).run()
    assert len(history) < 50
    assert [epoch.best for epoch in history[-2:]] == [False, False]
    assert history[-3].best


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, after: int) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.number == after:
            raise Interrupted

    checkpoint = tmp_path / "training.pt"
    with pytest.raises(Interrupted):
        trainer(network(), checkpoint=checkpoint).run(interrupt)
    resumed = network()
    seen: list[int] = []
    trainer(resumed, checkpoint=checkpoint).run(lambda epoch: seen.append(epoch.number))
    assert torch.equal(weights(resumed), weights(trained()))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_finished_checkpoint_trains_no_further(tmp_path: Path) -> None:
    checkpoint = tmp_path / "training.pt"
    first = trained(checkpoint=checkpoint)
    written = checkpoint.read_bytes()
    assert torch.equal(weights(first), weights(trained(checkpoint=checkpoint)))
    assert checkpoint.read_bytes() == written


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "training.pt"
    trainer(network(), checkpoint=checkpoint).run()
    with pytest.raises(ValueError, match=r"training\.pt was written with other settings"):
        trainer(network(), TrainSettings(epochs=7), checkpoint=checkpoint).run()


def test_augmentation_sees_every_batch_and_its_generator_is_seeded() -> None:
    rows: list[int] = []

    def noise(batch, generator):  # type: ignore[no-untyped-def]
        rows.append(len(batch))
        return batch + torch.randn(batch.shape, generator=generator)

    first = trained(augment=noise)
    assert sum(rows) == 6 * 96
    assert torch.equal(weights(first), weights(trained(augment=noise)))


def test_a_diverging_run_says_so() -> None:
    def poison(batch, _):  # type: ignore[no-untyped-def]
        return batch * float("nan")

    with pytest.raises(ArithmeticError, match="diverged in epoch 1"):
        trainer(network(), augment=poison).run()


@pytest.mark.parametrize(("training", "development"), [(0, 8), (8, 0)])
def test_without_rows_nothing_is_trained(training: int, development: int) -> None:
    sets = [clouds(8, seed=0).take(torch.arange(n)) for n in (training, development)]
    with pytest.raises(ValueError, match=f"there are {training}, {development} to stop by"):
        Trainer(network(), *sets, SETTINGS)
