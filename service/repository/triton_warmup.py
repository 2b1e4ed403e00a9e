"""The warm-up samples of a Triton configuration, with the files that some of them take their data from.

Source: Triton's model_config.proto, ModelWarmup.
"""

from __future__ import annotations

from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_reading import Reading
from service.repository.triton_tensors import datatype_of

WARMUP_FOLDER = "warmup"
FILES_LIMIT_BYTES = 256 << 20  # of all samples of a model together


def read_warmup(message: Any, reading: Reading) -> None:
    """Sets `warmup_samples`."""
    left_bytes = FILES_LIMIT_BYTES
    samples = []
    for sample in message.model_warmup:
        where = f"model_warmup {quoted(sample.name)}"
        if not sample.inputs:
            raise reading.wrong(f"{where}.inputs", "is empty, expected the inputs of the model")
        inputs = {}
        for name, given in sorted(sample.inputs.items()):
            inputs[name] = _input(given, f"{where}.inputs {quoted(name)}", left_bytes, reading)
            left_bytes -= len(inputs[name]["data"])
        samples.append(
            {"name": sample.name, "batch_size": sample.batch_size, "count": max(1, sample.count), "inputs": inputs}
        )
    if samples:
        reading.values["warmup_samples"] = samples


def _input(given: Any, field: str, left_bytes: int, reading: Reading) -> dict[str, Any]:
    if any(dim < 1 for dim in given.dims):
        raise reading.wrong(f"{field}.dims", "must hold sizes of 1 or more")
    source = given.WhichOneof("input_data_type")
    if source is None or (source != "input_data_file" and not getattr(given, source)):
        raise reading.wrong(field, "must have one of zero_data, random_data and input_data_file")
    values = {"datatype": datatype_of(given, given.data_type, field, reading), "dims": list(given.dims)}
    data: Any = {"zero_data": "zero", "random_data": "random"}.get(source)
    if data is None:
        values["file"] = given.input_data_file
        data = reading.read_file(f"{WARMUP_FOLDER}/{given.input_data_file}", left_bytes)
    return values | {"data": data}
