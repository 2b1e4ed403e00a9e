"""Small encoders and token rows, made on the spot, for the tests of text networks."""

from dataclasses import replace

import torch
from torch import Tensor

from models.train.examples import Examples
from models.train.export import export
from models.train.transformer import Shape, TextClassifier

SHAPE = Shape(vocabulary=50, width=16, heads=4, inner=32, layers=4, positions=12, dropout=0.1)
SHALLOW = replace(SHAPE, layers=2)  # exporting takes seconds, in proportion to the layers
CLASSES = 3


def network(shape: Shape = SHAPE, *, unit: bool = False) -> TextClassifier:
    torch.manual_seed(0)
    made = TextClassifier(shape, CLASSES, unit=unit)
    for weight in made.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


def file_of(made: TextClassifier) -> bytes:
    """The network as an ONNX file with both axes symbolic."""
    return export(made, rows(2), input_name=("input_ids", "attention_mask"), output_name="logits", max_sequence=12)


def rows(n: int = 8, length: int = 12) -> tuple[Tensor, Tensor]:
    """Ids and mask, int64 (n, length); texts of 1 to `length` tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, length + 1, (n, 1), generator=generator)
    mask = (torch.arange(length)[None] < lengths).long()
    return torch.randint(1, 50, (n, length), generator=generator) * mask, mask


def examples(n: int = 64) -> Examples:
    """Rows whose class says which third of the vocabulary their first token is of."""
    ids, mask = rows(n)
    return Examples((ids, mask), ids[:, 0] * CLASSES // 50)
