"""How often the codec is asked to read: what is known is read without it."""

from __future__ import annotations

from typing import Any

import pytest

from service.gateway import codec


class Read:
    """Counts what the codec reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._real = codec.decode
        monkeypatch.setattr(codec, "decode", self)

    def __call__(self, *given: Any) -> Any:
        self.count += 1
        return self._real(*given)
