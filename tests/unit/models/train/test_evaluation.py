"""A network's scores are those that a card would hold; the training mode is not what they are taken in."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the workshop extra")

from models.train.evaluation import evaluate, lines, logits  # noqa: E402
from models.train.examples import Examples  # noqa: E402


@pytest.fixture
def network():  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)).train()


@pytest.fixture
def examples() -> Examples:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1203, 4, generator=generator)
    return Examples((inputs,), torch.randint(0, 3, (1203,), generator=generator))


def test_scores_are_those_of_another_implementation(network, examples: Examples) -> None:  # type: ignore[no-untyped-def]
    found = evaluate(network, examples)
    guesses = network.eval()(*examples.inputs).argmax(1).numpy()
    labels = examples.labels.numpy()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, guesses, average="macro")
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, guesses))
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx((precision, recall, f1))
    assert np.allclose(found.recall_by_class, metrics.recall_score(labels, guesses, average=None))


def test_logits_of_more_rows_than_go_at_once_keep_their_order(network, examples: Examples) -> None:  # type: ignore[no-untyped-def]
    found = logits(network, examples)
    assert found.shape == (1203, 3)
    assert not found.requires_grad
    assert torch.allclose(found, network.eval()(*examples.inputs), atol=1e-6)


def test_a_screen_is_told_each_class_by_name_or_number(network, examples: Examples) -> None:  # type: ignore[no-untyped-def]
    scores = evaluate(network, examples)
    told = lines(scores, names=("cat", "dog"))
    assert told[0].startswith(f"accuracy {scores.accuracy:.4f}, precision")
    assert [line.split(":")[0] for line in told[1:]] == ["cat", "dog", "2"]


def test_no_examples_are_refused(network) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="no examples to evaluate"):
        evaluate(network, Examples((torch.zeros(0, 4),), torch.zeros(0, dtype=torch.int64)))
