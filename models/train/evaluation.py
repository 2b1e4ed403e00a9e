"""What a network gets right on some examples, by the same formulas as every card (`models.evaluate.quality`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.evaluate.quality import Scores, score
from models.train.examples import Examples

ROWS = 1000


def evaluate(network: nn.Module, examples: Examples) -> Scores:
    """Scores of the network in eval mode: accuracy, macro precision, recall and F1, and recall per class.

    Raises:
        ValueError: there are no examples.
    """
    if not len(examples):
        raise ValueError("There are no examples to evaluate the network on.")
    return score(logits(network, examples).numpy(), examples.labels.cpu().numpy())


@torch.no_grad()
def logits(network: nn.Module, examples: Examples) -> Tensor:
    """The network's answers in eval mode, (n, classes), on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    parts = torch.arange(len(examples)).split(ROWS)
    return torch.cat([network(*examples.take(rows).to(device).inputs).cpu() for rows in parts])


def lines(scores: Scores, names: Sequence[str] = ()) -> list[str]:
    """The scores for a screen: one line for all, one for each class; classes without a name go by their number."""
    told = [
        f"accuracy {scores.accuracy:.4f}, precision {scores.macro_precision:.4f}, recall {scores.macro_recall:.4f}, "
        f"F1 {scores.macro_f1:.4f}, n {scores.n}"
    ]
    for number, (recall, n) in enumerate(zip(scores.recall_by_class, scores.support_by_class, strict=True)):
        told.append(f"{names[number] if number < len(names) else number}: recall {recall:.4f}, n {n}")
    return told
