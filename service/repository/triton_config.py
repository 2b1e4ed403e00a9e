"""A Triton configuration as a model's configuration: every field honoured, refused by name, or noted as without effect.

Values come out by the keys of model.yaml and are checked where those are (`model_config`). Knows nothing of the graph
that the configuration is about.
"""

from __future__ import annotations

from typing import Any

from service.repository.triton_accelerators import read_accelerators
from service.repository.triton_parameters import read_parameters
from service.repository.triton_placement import read_placement
from service.repository.triton_reading import Reading
from service.repository.triton_refusals import read_kind
from service.repository.triton_scheduling import read_scheduling
from service.repository.triton_tensors import read_tensors
from service.repository.triton_warmup import read_warmup


def read_message(message: Any, reading: Reading) -> None:
    """Fills `reading` with what the message says.

    Args:
        message: Triton's ModelConfig, from `triton_text`.
        reading: a new one.

    Raises:
        BadModel: the first thing that cannot be honoured.
    """
    read_kind(message, reading)
    read_tensors(message, reading)
    read_scheduling(message, reading)
    read_placement(message, reading)
    read_accelerators(message, reading)
    read_warmup(message, reading)
    read_parameters(message, reading)
