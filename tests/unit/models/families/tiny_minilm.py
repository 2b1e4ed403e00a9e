"""A folder in the form of MiniLM's, with an encoder of a few thousand random weights and a tokenizer of few pieces."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.data import tokens

VOCABULARY = 200
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
}


def write(folder: Path, texts: Sequence[str]) -> Path:
    """Writes the folder, with a tokenizer for these texts."""
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes(tokens.train_word_pieces(texts, VOCABULARY))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), folder / "model.safetensors")
    return folder


def weights() -> dict[str, torch.Tensor]:
    """Random weights under the publishers' names, with what no encoder here reads beside them."""
    torch.manual_seed(0)
    found = {
        "embeddings.position_ids": torch.arange(64)[None],
        "embeddings.word_embeddings.weight": torch.randn(VOCABULARY, 16),
        "embeddings.position_embeddings.weight": torch.randn(64, 16),
        "embeddings.token_type_embeddings.weight": torch.randn(2, 16),
        **_norm("embeddings.LayerNorm"),
    }
    for at in range(2):
        layer = f"encoder.layer.{at}"
        for part in ("query", "key", "value"):
            found |= _linear(f"{layer}.attention.self.{part}", 16, 16)
        found |= _linear(f"{layer}.attention.output.dense", 16, 16)
        found |= _linear(f"{layer}.intermediate.dense", 32, 16)
        found |= _linear(f"{layer}.output.dense", 16, 32)
        found |= _norm(f"{layer}.attention.output.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    return found


def _linear(name: str, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.randn(outputs, inputs) * 0.3, f"{name}.bias": torch.randn(outputs) * 0.1}


def _norm(name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": 1 + torch.randn(16) * 0.1, f"{name}.bias": torch.randn(16) * 0.1}
