"""A transformer block with an embedding in front and a linear layer of answers behind, for the techniques' tests."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """tokens int64 [n, t] -> logits float32 [n, 6]."""

    def __init__(self, width: int = 64, heads: int = 4, vocabulary: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = nn.Linear(width, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + self.out(self._attend(self.before_attention(x)))
        x = x + self.down(nn.functional.gelu(self.up(self.before_mlp(x))))
        return self.head(x.mean(1))

    def _attend(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        split = (n, t, self.heads, width // self.heads)
        q, k, v = (part.reshape(split).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        weights = torch.softmax(q @ k.transpose(-1, -2) / split[3] ** 0.5, -1)
        return (weights @ v).transpose(1, 2).reshape(n, t, width)
