"""Inputs and outputs of a Triton configuration: names, datatypes, dims, reshapes, and the labels of classes.

What they say is held against the ONNX file when a version is loaded (`serving.declared`). Sources: Triton's
model_config.proto and its documentation of model configurations, "Inputs and Outputs" and "Reshape".
"""

from __future__ import annotations

from typing import Any

from service.repository.config_tensors import segments
from service.repository.suggest import quoted
from service.repository.triton_reading import Reading

LABELS_LIMIT_BYTES = 4 << 20
_FORMATS = ("none", "nhwc", "nchw")
_IMAGE_AXES = 3
_TENSORRT_ONLY = "only TensorRT's own engines have such tensors"


def datatype_of(message: Any, number: int, field: str, reading: Reading) -> str:
    """The protocol's name of a `data_type`."""
    known = message.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number.get(number)
    if known is None:  # protobuf takes any number
        raise reading.wrong(f"{field}.data_type", f"is {number}, expected a datatype that is served")
    name: str = known.name
    datatype = {"TYPE_STRING": "BYTES", "TYPE_BF16": "", "TYPE_INVALID": ""}.get(name, name.removeprefix("TYPE_"))
    if not datatype:
        raise reading.wrong(f"{field}.data_type", f"is {name}, expected a datatype that is served")
    return datatype


def read_tensors(message: Any, reading: Reading) -> None:
    """Sets `inputs`, `outputs`, `labels`, `batched` and `max_batch_size`.

    A `max_batch_size` of 0 beside declared tensors means that there is no batch axis; without any, that the server
    finds out, as Triton completes such a configuration.
    """
    if message.max_batch_size < 0:
        raise reading.wrong("max_batch_size", f"is {message.max_batch_size}, expected 0 or more")
    declared = bool(message.input or message.output)
    if message.max_batch_size:
        reading.values |= {"batched": True, "max_batch_size": message.max_batch_size}
    elif declared:
        reading.values["batched"] = False
    batched = bool(message.max_batch_size)
    if message.input:
        reading.values["inputs"] = [_input(tensor, batched, reading) for tensor in message.input]
    if message.output:
        outputs = [_output(tensor, batched, reading) for tensor in message.output]
        reading.values["outputs"] = outputs
        labels = [output["labels"] for output in outputs if "labels" in output]
        if len(labels) == 1:
            reading.values["labels"] = labels[0]
    _check_names(reading)


def _check_names(reading: Reading) -> None:
    for kind in ("inputs", "outputs"):
        names = [tensor["name"] for tensor in reading.values.get(kind, ())]
        if len(set(names)) < len(names):
            raise reading.wrong(kind.removesuffix("s"), "names a tensor twice")


def _input(tensor: Any, batched: bool, reading: Reading) -> dict[str, Any]:
    field = f"input {quoted(tensor.name)}"
    if tensor.allow_ragged_batch:
        raise reading.unsupported(f"{field}.allow_ragged_batch", "requests of different shapes are padded, see `pad`")
    if tensor.optional:
        reading.warn(f"{field}.optional", "a request without an input that the graph needs is refused")
    values = _tensor(tensor, field, batched, reading)
    if tensor.format:
        if len(tensor.dims) != _IMAGE_AXES:
            raise reading.wrong(f"{field}.format", f"wants {_IMAGE_AXES} dims, got {len(tensor.dims)}")
        values["format"] = _FORMATS[tensor.format] if 0 <= tensor.format < len(_FORMATS) else str(tensor.format)
    return values


def _output(tensor: Any, batched: bool, reading: Reading) -> dict[str, Any]:
    field = f"output {quoted(tensor.name)}"
    values = _tensor(tensor, field, batched, reading)
    if tensor.label_filename:
        values["labels"] = _labels(reading.read_file(tensor.label_filename, LABELS_LIMIT_BYTES), field, reading)
        values["label_file"] = tensor.label_filename
    return values


def _labels(data: bytes, field: str, reading: Reading) -> list[str]:
    """One label a line."""
    try:
        return data.decode().removesuffix("\n").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise reading.wrong(f"{field}.label_filename", "names a file that is not UTF-8 text") from None


def _tensor(tensor: Any, field: str, batched: bool, reading: Reading) -> dict[str, Any]:
    if not tensor.name:
        raise reading.wrong(field.partition(" ")[0], "holds a tensor without a name")
    for flag in ("is_shape_tensor", "is_non_linear_format_io"):
        if getattr(tensor, flag):
            raise reading.unsupported(f"{field}.{flag}", _TENSORRT_ONLY)
    if not (tensor.dims or tensor.HasField("reshape")):
        raise reading.wrong(f"{field}.dims", "is empty, expected the sizes of the axes")
    for dim in tensor.dims:
        if dim != -1 and dim < 1:
            raise reading.wrong(f"{field}.dims", f"holds {dim}, expected sizes of 1 or more, or -1")
    values: dict[str, Any] = {
        "name": tensor.name,
        "datatype": datatype_of(tensor, tensor.data_type, field, reading),
        "dims": list(tensor.dims),
    }
    if tensor.HasField("reshape"):
        values["reshape"] = _reshape(tensor, field, batched, reading)
    return values


def _reshape(tensor: Any, field: str, batched: bool, reading: Reading) -> list[int]:
    shape = list(tensor.reshape.shape)
    if not shape and not batched:
        raise reading.wrong(f"{field}.reshape", "is empty, which needs a max_batch_size above 0")
    for dim in shape:
        if dim != -1 and dim < 1:
            raise reading.wrong(f"{field}.reshape", f"holds {dim}, expected sizes of 1 or more, or -1")
    if segments(tensor.dims) != segments(shape):
        raise reading.wrong(
            f"{field}.reshape", f"has another number of elements than dims: {shape} and {list(tensor.dims)}"
        )
    return shape
