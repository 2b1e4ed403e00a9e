"""Small random distortions of images, so that 900 of them go further. Knows no network and no loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Distortion:
    """Random rotation, scaling and shift of each image, within these bounds; pixels from outside are 0."""

    rotation_degrees: float = 10.0
    scale: float = 0.1
    shift_pixels: float = 0.8

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The distorted images, of the shape (n, channels, height, width) and dtype given."""
        n, _, height, width = images.shape

        def within(bound: float) -> Tensor:
            return (torch.rand(n, generator=generator) * 2 - 1) * bound

        angle = within(math.radians(self.rotation_degrees))
        zoom = 1 + within(self.scale)
        across, down = within(self.shift_pixels * 2 / width), within(self.shift_pixels * 2 / height)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        affine = torch.stack([torch.stack([cos, -sin, across], 1), torch.stack([sin, cos, down], 1)], 1)
        grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, align_corners=False)
