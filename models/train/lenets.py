"""The two networks of the Deep Compression paper for MNIST. Each takes raw pixels: scaling is part of the network."""

from __future__ import annotations

from torch import Tensor, nn

PIXEL_RANGE = 255.0


class LeNet300(nn.Module):
    """LeNet-300-100: two hidden layers of 300 and 100 units (LeCun et al. 1998); 266,610 parameters.

    Args:
        hidden: units of the hidden layers.
    """

    def __init__(self, hidden: tuple[int, int] = (300, 100)) -> None:
        super().__init__()
        first, second = hidden
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 10)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (n, 10), of raw images, float32 (n, 1, 28, 28) with values 0..255."""
        logits: Tensor = self.layers(image / PIXEL_RANGE)
        return logits


class LeNet5(nn.Module):
    """LeNet-5 as Caffe's example has it, the form that Han et al. compress; 431,080 parameters.

    Args:
        channels: of the two 5x5 convolutions.
        hidden: units of the layer between them and the logits.
    """

    def __init__(self, channels: tuple[int, int] = (20, 50), hidden: int = 500) -> None:
        super().__init__()
        first, second = channels
        self.layers = nn.Sequential(
            nn.Conv2d(1, first, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(second * 4 * 4, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (n, 10), of raw images, float32 (n, 1, 28, 28) with values 0..255."""
        logits: Tensor = self.layers(image / PIXEL_RANGE)
        return logits
