"""What a technique is: a pure function of a model's bytes, its arguments, and the material that it may look at.

Each technique is one file of this package with one `Technique`; `registry` lists them, and recipes name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from service.core.contract import Arrays

A = TypeVar("A")


class NoCalibration(ValueError):
    """A technique needs a calibration set and was given none."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a technique may look at beside the model; never the development set, never the test set.

    Attributes:
        calibration: input name -> (n, ...), in the model's dtypes; None where there is none.
        seed: of everything that is drawn.
    """

    calibration: Arrays | None = None
    seed: int = 0

    def rows(self, step: str) -> Arrays:
        """The calibration set.

        Raises:
            NoCalibration: there is none.
        """
        if self.calibration is None:
            raise NoCalibration(f"{step} needs a calibration set: inputs like those that the model will see.")
        return self.calibration


def later(default: Any) -> Any:
    """A field that its technique got after cards were published; they tell nothing of it, which means `default`."""
    return field(default=default, metadata={"later": True})


def arguments_of(arguments: Any) -> dict[str, Any]:
    """A step's arguments as a card writes them: every field, but a later one only where it is not as by default.

    So the card of an older version stays what its recipe writes today.
    """
    told = ((one, getattr(arguments, one.name)) for one in fields(arguments))
    return {one.name: value for one, value in told if not one.metadata.get("later") or value != one.default}


@dataclass(frozen=True, slots=True)
class Technique(Generic[A]):
    """A named step of a recipe.

    Attributes:
        name: as recipes and cards write it; the name of its file and function.
        arguments: a frozen dataclass, every field with a default and of a type that a card holds.
        apply: model bytes, arguments, material -> model bytes. Raises `NotApplied` when the graph did not change as
            it should, and leaves names, datatypes and dims of inputs and outputs as they were.
    """

    name: str
    arguments: type[A]
    apply: Callable[[bytes, A, Material], bytes]

    def run(self, model: bytes, arguments: Any, material: Material) -> bytes:
        """`apply`, for callers that hold arguments of any technique.

        Raises:
            TypeError: the arguments are another technique's.
        """
        if not isinstance(arguments, self.arguments):
            raise TypeError(f"{self.name} takes {self.arguments.__name__}, not {type(arguments).__name__}.")
        return self.apply(model, arguments, material)
