"""The encoder is BERT's: held against torch's own layers; rows know nothing of fillers nor of each other."""

import pytest

torch = pytest.importorskip("torch", reason="text families need torch")

from models.train.examples import Examples  # noqa: E402
from models.train.export import parity  # noqa: E402
from models.train.transformer import MASKED, Encoder, Layer, Shape, Trimmed  # noqa: E402
from tests.unit.models.train.texts import SHALLOW, examples, file_of, network, rows  # noqa: E402


def _reference(layer: Layer, shape: Shape) -> torch.nn.TransformerEncoderLayer:
    """Torch's own layer with the same weights."""
    theirs = torch.nn.TransformerEncoderLayer(
        shape.width,
        shape.heads,
        shape.inner,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=shape.epsilon,
        batch_first=True,
        norm_first=False,
    )
    parts = (layer.attention.query, layer.attention.key, layer.attention.value)
    state = {
        "self_attn.in_proj_weight": torch.cat([part.weight for part in parts]),
        "self_attn.in_proj_bias": torch.cat([part.bias for part in parts]),
    }
    names = {
        "self_attn.out_proj": layer.attention.output,
        "linear1": layer.inner,
        "linear2": layer.outer,
        "norm1": layer.attention_norm,
        "norm2": layer.outer_norm,
    }
    for name, module in names.items():
        state |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    theirs.load_state_dict(state)
    return theirs.eval()


def _encoded_by_reference(encoder: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden = encoder.norm(encoder.tokens.weight[ids] + encoder.positions.weight[None, : ids.shape[1]])
    for layer in encoder.layers:
        hidden = _reference(layer, encoder.shape)(hidden, src_key_padding_mask=mask == 0)
    return hidden


@torch.no_grad()
def test_the_encoder_gives_what_torchs_own_layers_give() -> None:
    encoder, (ids, mask) = network().encoder, rows()
    ours, theirs = encoder(ids, mask), _encoded_by_reference(encoder, ids, mask)
    assert torch.allclose(ours[mask == 1], theirs[mask == 1], atol=1e-5)


@torch.no_grad()
def test_the_comparison_sees_one_weight_of_another_value() -> None:
    encoder, (ids, mask) = network().encoder, rows()
    theirs = _encoded_by_reference(encoder, ids, mask)
    encoder.layers[1].attention.key.weight[0, 0] += 0.5
    assert not torch.allclose(encoder(ids, mask)[mask == 1], theirs[mask == 1], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("unit", [False, True])
def test_filler_changes_no_answer_whatever_its_ids(unit: bool) -> None:
    made, (ids, mask) = network(unit=unit), rows(length=6)
    filled = torch.cat([ids, torch.full_like(ids, 7)], 1)
    answers = made(filled, torch.cat([mask, torch.zeros_like(mask)], 1))
    assert torch.allclose(made(ids, mask), answers, atol=1e-5)


@torch.no_grad()
def test_a_token_that_the_mask_shows_does_change_the_answer() -> None:
    made, (ids, mask) = network(), rows(length=6)
    longer = torch.cat([ids, torch.full_like(ids, 7)], 1)
    assert not torch.allclose(made(ids, mask), made(longer, torch.cat([mask, torch.ones_like(mask)], 1)), atol=1e-2)


@torch.no_grad()
def test_a_row_is_answered_alone_as_among_others() -> None:
    made, (ids, mask) = network(), rows()
    alone = torch.cat([made(ids[at : at + 1], mask[at : at + 1]) for at in range(len(ids))])
    assert torch.allclose(alone, made(ids, mask), atol=1e-5)


@torch.no_grad()
def test_a_row_of_nothing_but_filler_has_a_finite_answer() -> None:
    ids = torch.zeros(2, 5, dtype=torch.long)
    for unit in (False, True):
        assert torch.isfinite(network(unit=unit)(ids, ids)).all()


@torch.no_grad()
def test_unit_embeddings_have_length_one_and_others_do_not() -> None:
    ids, mask = rows()
    assert torch.allclose(network(unit=True).embed(ids, mask).norm(dim=1), torch.ones(8), atol=1e-5)
    assert not torch.allclose(network().embed(ids, mask).norm(dim=1), torch.ones(8), atol=1e-2)


def test_what_is_added_to_masked_scores_leaves_nothing_of_them() -> None:
    assert torch.tensor([MASKED, 0.0]).softmax(0)[0] == 0
    assert torch.isfinite(torch.tensor(MASKED).half())


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_trimmed_gives_the_networks_answers_in_the_order_of_the_rows(chunk: int) -> None:
    made, (ids, mask) = network(), rows(11)
    assert torch.allclose(Trimmed(made, chunk)(ids, mask), made(ids, mask), atol=1e-5)


def test_trimmed_runs_no_more_filler_than_its_rows_need() -> None:
    seen = []

    class Recording(torch.nn.Module):
        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            seen.append(mask)
            return mask.sum(1, keepdim=True).float()

    ids, mask = rows(20)
    answers = Trimmed(Recording(), 5)(ids, mask)
    assert torch.equal(answers[:, 0], mask.sum(1).float())
    assert [len(one) for one in seen] == [5, 5, 5, 5]
    assert all(one[:, -1].any() for one in seen)
    assert sum(one.numel() for one in seen) < mask.numel()


def test_the_exported_file_takes_any_number_of_rows_of_any_length() -> None:
    made, given = network(SHALLOW), examples(8)
    onnx = file_of(made)
    for length in (1, 5, 12):
        cut = Examples(tuple(one[:, :length].contiguous() for one in given.inputs), given.labels)
        assert parity(made, onnx, cut) < 1e-4
        assert parity(made, onnx, cut.take(torch.arange(1))) < 1e-4
    with torch.no_grad():
        made.head.bias[0] += 1
    with pytest.raises(ValueError, match="differ from the network's"):
        parity(made, onnx, given)
