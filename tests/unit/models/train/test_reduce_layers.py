"""Dropping layers is running without them, keeps names and shapes, and leaves the teacher as it was."""

import copy

import onnx
import pytest

torch = pytest.importorskip("torch", reason="text families need torch")

from models.compress.checks import NotApplied, same_signature  # noqa: E402
from models.train.distil import distillation  # noqa: E402
from models.train.loop import Trainer  # noqa: E402
from models.train.reduce_layers import every_other, reduce_layers  # noqa: E402
from models.train.settings import TrainSettings  # noqa: E402
from tests.unit.models.train.texts import SHALLOW, examples, file_of, network, rows  # noqa: E402


@pytest.mark.parametrize(("layers", "kept"), [(6, (1, 3, 5)), (4, (1, 3)), (3, (0, 2)), (2, (1,)), (1, (0,))])
def test_every_other_layer_stays_and_the_last_does(layers: int, kept: tuple[int, ...]) -> None:
    assert every_other(layers) == kept


class _Skipped(torch.nn.Module):
    def forward(self, hidden: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return hidden


@torch.no_grad()
def test_the_student_answers_as_the_teacher_without_these_layers() -> None:
    teacher, inputs = network(), rows()
    student = reduce_layers(teacher, (1, 3))
    without = copy.deepcopy(teacher)
    without.encoder.layers[0] = without.encoder.layers[2] = _Skipped()
    assert torch.equal(student(*inputs), without(*inputs))
    assert not torch.allclose(student(*inputs), teacher(*inputs), atol=1e-2)


@torch.no_grad()
def test_teacher_and_student_share_no_weight() -> None:
    teacher, inputs = network(), rows()
    before = teacher(*inputs)
    for weight in reduce_layers(teacher, (0,)).parameters():
        weight.zero_()
    assert torch.equal(teacher(*inputs), before)
    assert len(teacher.encoder.layers) == 4


@pytest.mark.parametrize("kept", [(), (0, 1, 2, 3), (3, 1), (1, 1), (1, 4), (-1, 2)])
def test_positions_that_are_no_choice_are_refused(kept: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="some but not all are kept"):
        reduce_layers(network(), kept)


def test_the_file_keeps_its_signature_and_the_check_sees_another() -> None:
    teacher = network(SHALLOW)
    full, half = file_of(teacher), file_of(reduce_layers(teacher, every_other(2)))
    same_signature(full, half, "reduce_layers")
    assert len(half) < len(full)
    other = onnx.load_from_string(half)
    other.graph.output[0].name = other.graph.node[-1].output[0] = "answer"
    with pytest.raises(NotApplied, match="changed the inputs or outputs"):
        same_signature(full, other.SerializeToString(), "reduce_layers")


def test_the_teacher_brings_the_student_nearer_to_itself() -> None:
    teacher, given = network(), examples(128)
    student = reduce_layers(teacher, every_other(4))

    @torch.no_grad()
    def distance() -> float:
        student.eval()
        return float((student(*given.inputs) - teacher(*given.inputs)).abs().mean())

    before = distance()
    settings = TrainSettings(epochs=12, batch_rows=16, learning_rate=1e-2, patience=12)
    Trainer(student, given, given, settings, objective=distillation(teacher, 1.0, 1.0)).run()
    assert distance() < 0.7 * before
