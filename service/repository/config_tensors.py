"""The sections of a model's configuration about its tensors and sessions: declared inputs and outputs, warm-up samples.

Values only; whether they fit the graph shows when a version is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from service.repository.config_sections import Name, Section

_AXES_LIMIT = 31
_COUNT_LIMIT = 1_000_000
_SIZE_LIMIT = 1 << 40

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]


def _dim(size: int) -> int:
    if size < 1 and size != -1:
        raise ValueError("must be a size of 1 or more, or -1 for a variable axis")
    return size


Size = Annotated[int, Field(ge=1, le=_SIZE_LIMIT)]
Dims = Annotated[tuple[Annotated[int, Field(le=_SIZE_LIMIT), AfterValidator(_dim)], ...], Field(max_length=_AXES_LIMIT)]


def segments(dims: Sequence[int]) -> list[int]:
    """Elements between the variable axes: two shapes with the same ones can be reshaped into one another."""
    counts: list[list[int]] = [[]]
    for dim in dims:
        if dim == -1:
            counts.append([])
        else:
            counts[-1].append(dim)
    return [prod(count) for count in counts]


class Latest(Section):
    """Residency of the newest versions.

    Attributes:
        latest: how many, by their numbers; ids that are no numbers are not among them.
    """

    latest: Annotated[int, Field(ge=1, le=_COUNT_LIMIT)]


class Tensor(Section):
    """One input or output as clients see it.

    Attributes:
        name: as in the graph.
        datatype: must be the graph's.
        dims: without the batch axis where the model is `batched`; -1 for a variable one. May fix what the graph leaves
            open.
        reshape: what the graph takes or gives in place of `dims`; None for the same.
    """

    name: Name
    datatype: Datatype
    dims: Dims
    reshape: Dims | None = None

    @model_validator(mode="after")
    def _reshapes(self) -> Tensor:
        if self.reshape is not None and segments(self.dims) != segments(self.reshape):
            raise ValueError("reshape has another number of elements, or of variable axes, than dims")
        return self


class Input(Tensor):
    """A declared input; `format` says to clients how images lie, and changes nothing."""

    format: Literal["none", "nhwc", "nchw"] = "none"


class Output(Tensor):
    """A declared output; outputs that are not declared are not answered.

    Attributes:
        labels: names of its classes, in the order of the scores; None for those of the model.
        label_file: the file that they were read from; "" for none.
    """

    labels: tuple[str, ...] | None = None
    label_file: Annotated[str, Field(max_length=1024)] = ""


class Session(Section):
    """How ONNX Runtime sets up a version's sessions.

    Attributes:
        graph_optimization: how far it rewrites the graph.
        parallel: whether operators that do not depend on one another run side by side, on `inter_op_threads`.
        inter_op_threads: None for as many as there are cores; without `parallel` it has no effect.
        mem_arena: whether memory is kept between runs.
        mem_pattern: whether memory is planned for each shape met.
        device_allocator: whether weights are allocated apart from the arena.
    """

    graph_optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    parallel: bool = False
    inter_op_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    mem_arena: bool = True
    mem_pattern: bool = False
    device_allocator: bool = False


class WarmupInput(Section):
    """What one input of a warm-up sample holds.

    Attributes:
        dims: of one row where the sample has a batch size.
        data: zeros (empty texts), random values, or the bytes themselves in row-major order, texts with their length
            in front.
        file: the file that the bytes were read from; "" for none.
    """

    datatype: Datatype
    dims: Annotated[tuple[Size, ...], Field(max_length=_AXES_LIMIT)]
    data: Literal["zero", "random"] | Annotated[bytes, Field(strict=True)] = "zero"
    file: Annotated[str, Field(max_length=1024)] = ""


class WarmupSample(Section):
    """A request that every instance of a version answers before it answers anyone; the load fails where it fails.

    Attributes:
        name: in messages.
        batch_size: rows; 0 or 1 for one.
        count: how often it is run.
    """

    name: Annotated[str, Field(max_length=1024)] = ""
    batch_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    count: Annotated[int, Field(ge=1, le=_COUNT_LIMIT)] = 1
    inputs: Annotated[dict[Name, WarmupInput], Field(min_length=1)]
