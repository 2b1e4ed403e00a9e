"""Weights of linear layers in 4 bits, in blocks that each have a scale; activations are taken to 8 bits at run time.

The strongest of the weight forms and the quickest for single rows; a row's answer does not depend on its batch-mates.
Convolutions stay as they are. Rounding in blocks: Dettmers and Zettlemoyer 2023, "The case for 4-bit precision".
"""

from __future__ import annotations

from dataclasses import dataclass

from models.compress.nbits import Blocks, to_nbits
from models.compress.technique import Material, Technique


@dataclass(frozen=True, slots=True)
class Int4:
    """Arguments of `int4`; each goes into the card.

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


def int4(model: bytes, arguments: Int4, material: Material | None = None) -> bytes:
    """The model with every MatMul and Gemm of a constant weight in 4 bits; no material is looked at.

    Raises:
        NotApplied: there is none, one cannot be changed, or the file grew.
    """
    blocks = Blocks(4, arguments.block_rows, arguments.symmetric, arguments.embeddings, arguments.exclude_nodes)
    return to_nbits(model, blocks, "int4")


TECHNIQUE = Technique("int4", Int4, int4)
