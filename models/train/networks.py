"""The architectures of the named models. Each takes raw input values: scaling is part of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Three convolutions and two linear layers for 8x8 digits.

    Args:
        width: channels of the first convolution; the others have twice as many.
        folded: without normalisations, as an exported file has it: they are folded into the convolutions.
    """

    PIXEL_RANGE = 16.0

    def __init__(self, width: int = 32, *, folded: bool = False) -> None:
        super().__init__()
        block = _folded_block if folded else _block
        self.features = nn.Sequential(
            *block(1, width), *block(width, 2 * width), nn.MaxPool2d(2), *block(2 * width, 2 * width)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width * 4 * 4, 4 * width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(4 * width, 10)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (n, 10), of raw images, float32 (n, 1, 8, 8) with values 0..16."""
        logits: Tensor = self.classifier(self.features(image / self.PIXEL_RANGE))
        return logits


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _folded_block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.Identity(), nn.ReLU()


def parameters(network: nn.Module) -> int:
    """Trainable numbers in the network."""
    return sum(weight.numel() for weight in network.parameters())


def reproducible(seed: int) -> None:
    """One thread, deterministic algorithms and this seed, for the whole process: two runs then give equal weights."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
