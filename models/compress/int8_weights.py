"""Weights of linear layers in 8 bits, in blocks that each have a scale; activations are taken to 8 bits at run time.

What `int4` is, with half its gain in size and far smaller errors; a row's answer does not depend on its batch-mates.
Convolutions stay as they are. Where batches are large, `int8_per_row` is quicker.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.compress.nbits import Blocks, to_nbits
from models.compress.technique import Material, Technique


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """Arguments of `int8_weights`; each goes into the card.

    Attributes:
        block_rows: rows of a weight that share a scale; a power of two, at least 16.
        symmetric: without zero points.
        embeddings: tables of look-ups in 8 bits too, with one scale a row of the table.
        exclude_nodes: names of nodes that stay as they are.
    """

    block_rows: int = 32
    symmetric: bool = True
    embeddings: bool = True
    exclude_nodes: tuple[str, ...] = ()


def int8_weights(model: bytes, arguments: Int8Weights, material: Material | None = None) -> bytes:
    """The model with every MatMul and Gemm of a constant weight in 8 bits; no material is looked at.

    Raises:
        NotApplied: there is none, one cannot be changed, or the file grew.
    """
    blocks = Blocks(8, arguments.block_rows, arguments.symmetric, arguments.embeddings, arguments.exclude_nodes)
    return to_nbits(model, blocks, "int8_weights")


TECHNIQUE = Technique("int8_weights", Int8Weights, int8_weights)
