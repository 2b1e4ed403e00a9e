"""A version that was made and not yet measured: what a chain of compression steps, or a training run, hands over."""

from __future__ import annotations

from dataclasses import dataclass

from service.repository.card import Recipe


@dataclass(frozen=True, slots=True)
class Made:
    """A made version.

    Attributes:
        version: its id.
        onnx: what the runtime loads.
        recipe: how it was made, with every argument.
        coded: the same in the coded form (model.deep), where it is to be published so; it decodes to `onnx` exactly.
        needs: what it cannot be served well without, such as "avx512_vnni" or "cuda".
    """

    version: str
    onnx: bytes
    recipe: Recipe
    coded: bytes | None = None
    needs: tuple[str, ...] = ()
