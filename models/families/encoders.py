"""What the families of text classifiers share: training without waste, export with a text's length left open."""

from __future__ import annotations

import torch

from models.data.tokens import IDS, MASK
from models.families.family import NOT_ELSEWHERE, Bench
from models.families.training import Run, examples, train
from models.train.export import OPSET, export, parity
from models.train.transformer import TextClassifier, Trimmed
from service.repository.card import Step

OUTPUT = "logits"
PARITY_ROWS = 200
EXPORT = Step(technique="export", arguments={"opset": OPSET})
CONFIG = """\
# {what}: `input_ids` and `attention_mask` int64 [n, length], length at most {length}; `logits` float32 [n, {classes}].
max_batch_size: 32
finite_outputs: true
pad:
  axis: 1
  inputs: {{input_ids: 0, attention_mask: 0}}
"""
NOT_VERIFIED = (
    "Accuracy on texts from another source than the data set's, or in another language.",
    "Speed at other lengths than that of the encoded data set.",
    NOT_ELSEWHERE,
)


def config(what: str, length: int, classes: int) -> bytes:
    """The model.yaml: requests of several lengths are filled up to share a run."""
    return CONFIG.format(what=what, length=length, classes=classes).encode()


def trained(bench: Bench, network: TextClassifier, run: Run) -> TextClassifier:
    """Trains the network in place, as a stage of the bench; rows of like length together."""
    train(bench, Trimmed(network), run)
    return network


def exported(bench: Bench, network: TextClassifier, length: int) -> bytes:
    """The network as an ONNX file of rows of up to `length` tokens, held against the network on development rows.

    Raises:
        ValueError: the file answers differently.
    """
    network.eval()
    example = torch.ones(2, min(8, length), dtype=torch.long)
    onnx = export(network, (example, example.clone()), input_name=(IDS, MASK), output_name=OUTPUT, max_sequence=length)
    parity(network, onnx, examples(bench.parts["development"], rows=PARITY_ROWS))
    return onnx
