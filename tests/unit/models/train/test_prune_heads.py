"""Taking a head out is setting what it gives to zero, exactly; the least important ones are the ones that go."""

import pytest

torch = pytest.importorskip("torch", reason="text families need torch")

from torch.nn import functional  # noqa: E402

from models.train.export import parity  # noqa: E402
from models.train.prune_heads import importance, least_important, prune_heads  # noqa: E402
from models.train.transformer import TextClassifier  # noqa: E402
from tests.unit.models.train.texts import SHALLOW, SHAPE, examples, file_of, network, rows  # noqa: E402

ALL = tuple(range(SHAPE.heads))


def _zeroed(made: TextClassifier, layer: int, head: int) -> TextClassifier:
    """The network with what one head gives set to zero, in place."""
    attention = made.encoder.layers[layer].attention
    at = slice(head * attention.size, (head + 1) * attention.size)
    with torch.no_grad():
        attention.output.weight[:, at] = 0
    return made


@torch.no_grad()
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 2), (3, 3)])
def test_a_network_without_a_head_answers_as_one_whose_head_gives_zeros(layer: int, head: int) -> None:
    made, inputs = network(), rows()
    kept = [tuple(h for h in ALL if (at, h) != (layer, head)) for at in range(SHAPE.layers)]
    smaller = prune_heads(made, kept)
    assert not torch.allclose(smaller(*inputs), made(*inputs), atol=1e-3)
    assert torch.allclose(smaller(*inputs), _zeroed(made, layer, head)(*inputs), atol=1e-5)


@torch.no_grad()
def test_zeroing_another_head_is_not_the_same() -> None:
    made, inputs = network(), rows()
    smaller = prune_heads(made, [ALL[1:], ALL, ALL, ALL])
    assert not torch.allclose(smaller(*inputs), _zeroed(made, 0, 1)(*inputs), atol=1e-3)


def test_matrices_are_smaller_and_the_given_network_is_left_alone() -> None:
    made = network()
    smaller = prune_heads(made, [(0, 2), ALL, ALL, (3,)])
    attention = smaller.encoder.layers[0].attention
    assert attention.heads == 2
    assert attention.query.weight.shape == attention.key.weight.shape == attention.value.weight.shape == (8, 16)
    assert attention.value.bias.shape == (8,)
    assert attention.output.weight.shape == (16, 8)
    assert smaller.encoder.layers[3].attention.output.weight.shape == (16, 4)
    assert made.encoder.layers[0].attention.query.weight.shape == (16, 16)


def test_the_smaller_network_still_learns_and_exports() -> None:
    smaller, given = prune_heads(network(SHALLOW), [(0,), (1, 2)]), examples(8)
    functional.cross_entropy(smaller(*given.inputs), given.labels).backward()
    assert all(weight.grad is not None for weight in smaller.parameters())
    assert parity(smaller, file_of(smaller), given) < 1e-4


@pytest.mark.parametrize(
    "kept",
    [
        [ALL] * 3,
        [ALL, ALL, ALL, ()],
        [ALL, ALL, ALL, (0, 4)],
        [ALL, ALL, ALL, (1, 0)],
        [ALL, ALL, ALL, (1, 1)],
        [ALL, ALL, ALL, (-1, 0)],
    ],
)
def test_heads_that_are_no_choice_are_refused(kept: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="does not choose"):
        prune_heads(network(), kept)


def test_taking_no_head_is_refused() -> None:
    with pytest.raises(ValueError, match="Every head would be kept"):
        prune_heads(network(), [ALL] * 4)


def test_importance_is_the_derivative_by_a_factor_on_each_head() -> None:
    made, given = network(), examples(6)
    factors = torch.ones(SHAPE.layers, SHAPE.heads, requires_grad=True)
    hooks = [
        layer.attention.mixed.register_forward_hook(
            lambda _, __, given, at=at: given * factors[at][None, :, None, None]
        )
        for at, layer in enumerate(made.encoder.layers)
    ]
    by_factor = torch.zeros(SHAPE.layers, SHAPE.heads)
    for row in range(len(given)):
        one = given.take(torch.tensor([row]))
        (gradient,) = torch.autograd.grad(functional.cross_entropy(made(*one.inputs), one.labels), factors)
        by_factor += gradient.abs()
    for hook in hooks:
        hook.remove()
    expected = functional.normalize(by_factor, dim=1)
    assert torch.allclose(importance(made, given, batch_rows=4), expected, atol=1e-4)


def test_a_head_that_gives_nothing_has_no_importance_and_others_have() -> None:
    told = importance(_zeroed(network(), 2, 1), examples())
    assert told[2, 1] == 0
    assert (told > 0).sum() == told.numel() - 1
    assert torch.allclose(told.norm(dim=1), torch.ones(4))
    assert least_important(told, 1 / 16)[2] == (0, 2, 3)


def test_measuring_leaves_no_hook_and_no_gradient() -> None:
    made = network()
    importance(made, examples())
    assert all(weight.grad is None for weight in made.parameters())
    assert not any(layer.attention.mixed._forward_hooks for layer in made.encoder.layers)


def test_the_least_important_go_and_one_head_of_each_layer_stays() -> None:
    told = torch.tensor([[0.1, 0.2, 0.3, 0.4], [5.0, 6.0, 7.0, 8.0]])
    assert least_important(told, 0.25) == ((2, 3), (0, 1, 2, 3))
    assert least_important(told, 0.5) == ((3,), (1, 2, 3))
    assert least_important(told, 0.75) == ((3,), (3,))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9, 1.0])
def test_shares_that_take_nothing_or_too_much_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="takes"):
        least_important(torch.ones(2, 4), share)
