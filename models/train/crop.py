"""The usual distortion of small photographs: a random mirror image, shifted by a few pixels. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class MirrorAndShift:
    """Half of the images are mirrored, each is shifted by up to so many pixels; pixels from outside are 0.

    As in He et al. 2016, section 4.2, with a shift of 4 there.
    """

    shift_pixels: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The distorted images, of the shape (n, channels, height, width) and dtype given."""
        n, _, height, width = images.shape
        span = 2 * self.shift_pixels + 1
        mirrored = torch.rand(n, generator=generator) < 0.5
        down, across = torch.randint(0, span, (2, n), generator=generator)
        wide = functional.pad(images, (self.shift_pixels,) * 4)
        rows = (torch.arange(height) + down[:, None])[:, :, None]
        columns = (torch.arange(width) + across[:, None])[:, None, :]
        columns = torch.where(mirrored[:, None, None], columns.flip(2), columns)
        at = torch.arange(n)[:, None, None]
        return wide.permute(0, 2, 3, 1)[at, rows, columns].permute(0, 3, 1, 2).contiguous()
