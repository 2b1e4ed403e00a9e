"""Every technique by the name that recipes use. Adding one is adding its file and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.compress import (
    fp16,
    int4,
    int8_dynamic,
    int8_per_row,
    int8_static,
    int8_weights,
    low_rank,
    preprocess,
    prune_2_4,
    prune_magnitude,
    share_weights,
)
from models.compress.technique import Technique

_ALL: tuple[Technique[Any], ...] = (
    preprocess.TECHNIQUE,
    int8_static.TECHNIQUE,
    int8_dynamic.TECHNIQUE,
    int8_per_row.TECHNIQUE,
    int8_weights.TECHNIQUE,
    int4.TECHNIQUE,
    fp16.TECHNIQUE,
    prune_magnitude.TECHNIQUE,
    prune_2_4.TECHNIQUE,
    low_rank.TECHNIQUE,
    share_weights.TECHNIQUE,
)

TECHNIQUES: Mapping[str, Technique[Any]] = MappingProxyType({technique.name: technique for technique in _ALL})
