"""What a family is: a named model with its data, its full version and its variants, as `retort train` makes them.

A family only makes versions. Measuring, judging, cards and publishing are the same for all, and happen elsewhere; the
test set is not among what a family is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.data.samples import Samples
from models.data.splits import Splits
from models.made import Made
from models.workbench import Workbench

Parts = Mapping[str, Samples]

NOT_ELSEWHERE = "Any provider but the CPU, and any class of CPU but those under quality."


@dataclass(frozen=True, slots=True)
class Bench:
    """What the making of a version is given.

    Attributes:
        parts: training, development and calibration; never test.
        work: where stages and checkpoints are kept, and progress is shown.
        quick: make everything in its small form, for a test of the path and not of the result.
        processes: how many share the work of training, where a family's training can be shared.
        data: the folder that was named, for what a family reads beside its samples, such as given weights.
    """

    parts: Parts
    work: Workbench
    quick: bool = False
    processes: int = 1
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a family.

    Attributes:
        version: its id.
        summary: one sentence on what it is.
        make: makes it of the full version.
        trained: whether making it is training, which several processes may share.
    """

    version: str
    summary: str
    make: Callable[[Bench, Made], Made]
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Family:
    """A named model that can be trained here.

    Attributes:
        name: of the model.
        output: the graph's output that carries the logits.
        data_name: of the data set, as cards write it; so `source` and `licence`.
        config: its model.yaml.
        load: (folder of the data or None, folder of a cache) -> the parts training, development, calibration and test.
        full: makes the full version.
        variants: in the order in which they are made.
        not_verified: what its cards do not claim.
        version: id of the full version; the variants' ids begin with it.
    """

    name: str
    output: str
    data_name: str
    source: str
    licence: str
    config: bytes
    load: Callable[[Path | None, Path], Splits]
    full: Callable[[Bench], Made]
    variants: tuple[Variant, ...]
    not_verified: tuple[str, ...] = ()
    version: str = "1"
