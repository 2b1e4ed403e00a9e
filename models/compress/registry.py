"""Every technique by the name that recipes use. Adding one is adding its file and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.compress import int8_static, preprocess
from models.compress.technique import Technique

_ALL: tuple[Technique[Any], ...] = (
    preprocess.TECHNIQUE,
    int8_static.TECHNIQUE,
)

TECHNIQUES: Mapping[str, Technique[Any]] = MappingProxyType({technique.name: technique for technique in _ALL})
