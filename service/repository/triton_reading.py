"""What is gathered while a Triton configuration is read: values by the keys of model.yaml, warnings, files beside it.

And the one form of its refusals. Knows no field of the message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.core.errors import BadModel
from service.repository.suggest import quoted

# Reads a file of the model's folder: its plain relative path, and the most bytes it may have; raises BadModel.
ReadFile = Callable[[str, int], bytes]

_SWITCH = {"1": True, "true": True, "0": False, "false": False}
_DIGITS = 19


class Reading:
    """One configuration on its way to `model_config.ModelConfig`.

    Args:
        where: what messages call it, such as `digits/config.pbtxt`.
        model: the folder's name.
        read_file: reads files beside it.

    Attributes:
        values: by the keys of model.yaml.
        warnings: what has no effect here, one sentence each.
    """

    def __init__(self, where: str, model: str, read_file: ReadFile) -> None:
        self.where = where
        self.model = model
        self.read_file = read_file
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []

    def warn(self, field: str, why: str) -> None:
        """Notes that `field` is accepted and has no effect."""
        self.warnings.append(f"{self.where}: {_named(field)} has no effect here: {why}.")

    def wrong(self, field: str, why: str) -> BadModel:
        """The error that `field` says what cannot be."""
        return BadModel(f"{self.where}: {_named(field)} {why}.")

    def unsupported(self, field: str, why: str) -> BadModel:
        """The error that `field` is refused, whatever it says."""
        return BadModel(f"{self.where}: {_named(field)} is not supported: {why}.")

    def switch(self, field: str, text: str) -> bool:
        """A text that Triton takes as a boolean: 1, 0, true or false."""
        value = _SWITCH.get(text.lower())
        if value is None:
            raise self.wrong(field, f"is {quoted(text)}, expected true, false, 1 or 0")
        return value

    def number(self, field: str, text: str) -> int:
        """A text that is a whole number."""
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
            raise self.wrong(field, f"is {quoted(text)}, expected a whole number")
        return int(text)


def _named(field: str) -> str:
    """A field in quotes, unless a part of it stands in quotes already."""
    return field if "'" in field else f"'{field}'"
