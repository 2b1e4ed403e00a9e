"""A BERT-style encoder with a linear head for classes, as MiniLM is built: layers with their normalisation behind.

Attention is written out in products and a softmax, so that the exported graph has plain MatMul nodes, which the
techniques see and which ONNX Runtime fuses. Rows are independent of each other, and of how far they are filled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Added to the scores of fillers; exp(-1e4) is 0 in float32, and the number still fits into float16.
MASKED = -1e4
CHUNK_ROWS = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder.

    Attributes:
        vocabulary: token ids.
        width: of the hidden states.
        heads: of attention in each layer at the start; `width` is a multiple of it.
        inner: width inside the feed-forward part.
        layers: how many.
        positions: most tokens a row.
        dropout: probability, while training.
        epsilon: of the normalisations.
    """

    vocabulary: int
    width: int
    heads: int
    inner: int
    layers: int
    positions: int
    dropout: float = 0.1
    epsilon: float = 1e-12


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) whose heads can be fewer than width / head size.

    Args:
        width: of the hidden states.
        heads: how many.
        size: width of one head.
    """

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.query, self.key, self.value = (nn.Linear(width, heads * size) for _ in range(3))
        self.output = nn.Linear(heads * size, width)
        # Where hooks see what each head gives, (n, heads, length, size).
        self.mixed = nn.Identity()

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Of hidden states (n, length, width) and what is added to the scores, (n, 1, 1, length)."""
        query, key, value = (self._split(part(hidden)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) * self.size**-0.5
        mixed = self.mixed((scores + bias).softmax(-1) @ value)
        joined: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return joined

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, self.size)).transpose(1, 2)


class Layer(nn.Module):
    """Attention and a feed-forward part, each with a residual and then a normalisation."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape.width, shape.heads, shape.width // shape.heads)
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.inner = nn.Linear(shape.width, shape.inner)
        self.outer = nn.Linear(shape.inner, shape.width)
        self.outer_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Hidden states (n, length, width) of hidden states of the same shape."""
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, bias)))
        inner = nn.functional.gelu(self.inner(hidden))
        after: Tensor = self.outer_norm(hidden + self.dropout(self.outer(inner)))
        return after


class Encoder(nn.Module):
    """Hidden states of token ids: the sum of their embeddings, normalised, through the layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.dropout = nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states, float32 (n, length, width), of int64 (n, length) ids and mask, 1 for a token, 0 for filler."""
        # Looked up, not sliced: of a slice the length is unknown to ONNX Runtime's inference of symbolic shapes.
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        embedded = self.tokens(input_ids) + self.positions(places)
        hidden: Tensor = self.dropout(self.norm(embedded))
        bias = (1.0 - attention_mask.to(hidden.dtype))[:, None, None, :] * MASKED
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return hidden


class TextClassifier(nn.Module):
    """Classes of texts: the mean of an encoder's hidden states over the tokens, scaled to length one if asked, a head.

    Args:
        encoder: as trained elsewhere, or the sizes of one that is to be trained.
        classes: how many.
        unit: scale the mean to Euclidean length 1, as MiniLM's sentence embeddings are.
    """

    def __init__(self, encoder: Encoder | Shape, classes: int, *, unit: bool = False) -> None:
        super().__init__()
        self.unit = unit
        self.encoder = encoder if isinstance(encoder, Encoder) else Encoder(encoder)
        shape = self.encoder.shape
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, classes)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings, float32 (n, width); rows of nothing but filler have some finite one."""
        hidden = self.encoder(input_ids, attention_mask)
        mask = attention_mask.to(hidden.dtype)[:, :, None]
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        return mean / mean.pow(2).sum(1, keepdim=True).sqrt().clamp(min=1e-6) if self.unit else mean

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, float32 (n, classes), of int64 (n, length) ids and mask."""
        logits: Tensor = self.head(self.dropout(self.embed(input_ids, attention_mask)))
        return logits


class Trimmed(nn.Module):
    """The same network, run on rows of similar length together and without filler that none of them needs.

    For training, where a batch of texts is mostly filler; the answers are the network's, in the order of the rows.
    Never exported.
    """

    def __init__(self, network: nn.Module, rows: int = CHUNK_ROWS) -> None:
        super().__init__()
        self.network = network
        self._rows = rows

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the network gives for these inputs, (n, ...)."""
        lengths = attention_mask.sum(1)
        order = torch.argsort(lengths, stable=True)
        parts = []
        for rows in order.split(self._rows):
            longest = max(1, int(lengths[rows].max()))
            parts.append(self.network(input_ids[rows, :longest], attention_mask[rows, :longest]))
        answers: Tensor = torch.cat(parts)[torch.argsort(order)]
        return answers
