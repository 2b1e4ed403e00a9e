"""Weights of linear layers in 4 bits, in blocks that each have a scale; activations are taken to 8 bits at run time.

The strongest of the weight forms and the quickest for single rows; a row's answer does not depend on its batch-mates.
Convolutions stay as they are. Rounding in blocks: Dettmers and Zettlemoyer 2023, "The case for 4-bit precision".
"""

from __future__ import annotations

from models.compress.nbits import Blocks, to_nbits
from models.compress.technique import Material, Technique


def int4(model: bytes, blocks: Blocks, material: Material | None = None) -> bytes:
    """The model with every MatMul and Gemm of a constant weight in 4 bits; no material is looked at.

    Raises:
        NotApplied: there is none, one cannot be changed, or the file grew.
    """
    return to_nbits(model, 4, blocks, "int4")


TECHNIQUE = Technique("int4", Blocks, int4)
