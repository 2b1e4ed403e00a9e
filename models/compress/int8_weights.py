"""Weights of linear layers in 8 bits, in blocks that each have a scale; activations are taken to 8 bits at run time.

What `int4` is, with half its gain in size and far smaller errors; a row's answer does not depend on its batch-mates.
Convolutions stay as they are. Where batches are large, `int8_per_row` is quicker.
"""

from __future__ import annotations

from models.compress.nbits import Blocks, to_nbits
from models.compress.technique import Material, Technique


def int8_weights(model: bytes, blocks: Blocks, material: Material | None = None) -> bytes:
    """The model with every MatMul and Gemm of a constant weight in 8 bits; no material is looked at.

    Raises:
        NotApplied: there is none, one cannot be changed, or the file grew.
    """
    return to_nbits(model, 8, blocks, "int8_weights")


TECHNIQUE = Technique("int8_weights", Blocks, int8_weights)
