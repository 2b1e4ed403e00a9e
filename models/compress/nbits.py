"""Linear layers with weights of 4 or 8 bits in blocks, each with its own scale: MatMulNBits of ONNX Runtime.

With accuracy level 4 the kernel also takes the activations to 8 bits, block by block of each row, so that a row's
answer does not depend on its batch-mates. Without it, 8 bits are ten times slower than float32 on a CPU.
Built on onnxruntime's matmul_nbits_quantizer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx

from models.compress import graph as graphs
from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.embeddings import quantise_tables, tables
from models.compress.gemm_to_matmul import gemm_to_matmul

ACCURACY_LEVEL = 4


@dataclass(frozen=True, slots=True)
class Blocks:
    """Arguments of `int4` and `int8_weights`; each goes into the card.

    Attributes:
        block_rows: rows of a weight that share a scale; a power of two, at least 16.
        symmetric: without zero points: a little smaller, a little less exact.
        embeddings: tables of look-ups in 8 bits too, with one scale a row of the table.
        exclude_nodes: names of nodes that stay as they are.
    """

    block_rows: int = 32
    symmetric: bool = True
    embeddings: bool = True
    exclude_nodes: tuple[str, ...] = ()


def to_nbits(model: bytes, bits: int, blocks: Blocks, step: str) -> bytes:
    """The model with every MatMul and Gemm of a constant weight as MatMulNBits of 4 or 8 bits; the signature stays.

    Raises:
        NotApplied: there is none, one cannot be changed, a block size is not one, or the file grew.
    """
    if blocks.block_rows < 16 or blocks.block_rows & (blocks.block_rows - 1):
        told = f"blocks of a power of two of at least 16 rows, not {blocks.block_rows}"
        raise NotApplied(f"{step} cuts weights into {told}.")
    proto = graphs.read(model, step)
    found = graphs.weighted(proto, graphs.LINEAR, step, blocks.exclude_nodes)
    gemm_to_matmul(proto, found)
    if blocks.embeddings:
        quantise_tables(proto, tables(proto, blocks.exclude_nodes))
    chosen = {one.node.name for one in found}
    others = [node.name for node in proto.graph.node if node.name not in chosen]
    result = graphs.write(_quantise(proto, bits, blocks, others))
    _assert_in_blocks(model, result, len(chosen), step)
    same_signature(model, result, step)
    return result


def _quantise(proto: onnx.ModelProto, bits: int, blocks: Blocks, others: list[str]) -> onnx.ModelProto:
    with _logging_as_it_was():
        # Configures the root logger as it is imported, which is no business of a library.
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer  # noqa: PLC0415

        quantizer = MatMulNBitsQuantizer(
            proto,
            bits=bits,
            block_size=blocks.block_rows,
            is_symmetric=blocks.symmetric,
            accuracy_level=ACCURACY_LEVEL,
            nodes_to_exclude=others,
        )
        quantizer.process()
    return quantizer.model.model


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)


def _assert_in_blocks(before: bytes, after: bytes, wanted: int, step: str) -> None:
    made = op_counts(after).get("MatMulNBits", 0) - op_counts(before).get("MatMulNBits", 0)
    if made != wanted:
        raise NotApplied(f"{step} made {made} MatMulNBits of {wanted} weights.")
    if len(after) >= len(before):
        raise NotApplied(f"{step} made the file larger: {len(before)} bytes became {len(after)}.")
