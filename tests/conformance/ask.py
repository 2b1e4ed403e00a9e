"""One node case put to a running server over one transport, and its answer as arrays.

Written against the wire itself, sharing no code with the server's own codec. Raises `AssertionError` with the
server's words where it does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from conformance.tensors import listed, of_json, pack, unpack
from service.core.contract import DATATYPES, Array
from tests.conformance.node_cases import NodeCase
from tests.support.process import ServerProcess

LENGTH = "Inference-Header-Content-Length"

Ask = Callable[[ServerProcess, Any, NodeCase], Mapping[str, Array]]


def over_binary(server: ServerProcess, _stub: Any, case: NodeCase) -> dict[str, Array]:
    """Binary tensors both ways."""
    blobs = [pack(array) for array in case.inputs.values()]
    inputs = [
        entry(name, array) | {"parameters": {"binary_data_size": len(blob)}}
        for (name, array), blob in zip(case.inputs.items(), blobs, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = server.http.post(
        f"/v2/models/{case.name}/infer", content=b"".join([head, *blobs]), headers={LENGTH: str(len(head))}
    )
    assert answer.status_code == 200, answer.text
    at = int(answer.headers[LENGTH])
    outputs = {}
    for output in json.loads(answer.content[:at])["outputs"]:
        end = at + output["parameters"]["binary_data_size"]
        outputs[output["name"]] = unpack(answer.content[at:end], output["datatype"], output["shape"])
        at = end
    assert at == len(answer.content)
    return outputs


def over_json(server: ServerProcess, _stub: Any, case: NodeCase) -> dict[str, Array]:
    """JSON both ways; only for what `in_json` says yes to."""
    inputs = [entry(name, array) | {"data": listed(array)} for name, array in case.inputs.items()]
    answer = server.http.post(f"/v2/models/{case.name}/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return {
        output["name"]: of_json(output["data"], output["datatype"], output["shape"])
        for output in answer.json()["outputs"]
    }


def over_grpc(_server: ServerProcess, stub: Any, case: NodeCase) -> dict[str, Array]:
    """Raw contents both ways."""
    request = service_pb2.ModelInferRequest(model_name=case.name)
    for name, array in case.inputs.items():
        request.inputs.add(name=name, datatype=DATATYPES[array.dtype], shape=array.shape)
        request.raw_input_contents.append(pack(array))
    answer = stub.ModelInfer(request)
    assert len(answer.outputs) == len(answer.raw_output_contents)
    return {
        output.name: unpack(raw, output.datatype, list(output.shape))
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def in_json(case: NodeCase) -> bool:
    """Whether JSON carries every input and output: no FP16, no NaN or infinity, no text that is not UTF-8."""
    return all(map(_in_json, [*case.inputs.values(), *case.expected.values()]))


def _in_json(array: Array) -> bool:
    if array.dtype == np.object_:
        return all(_is_text(element) for element in array.ravel())
    return array.dtype != np.float16 and (array.dtype.kind != "f" or bool(np.isfinite(array).all()))


def _is_text(element: bytes) -> bool:
    try:
        element.decode()
    except UnicodeDecodeError:
        return False
    return True


def entry(name: str, array: Array) -> dict[str, Any]:
    """An input without its data."""
    return {"name": name, "datatype": DATATYPES[array.dtype], "shape": list(array.shape)}


TRANSPORTS: Mapping[str, Ask] = {"HTTP binary": over_binary, "gRPC": over_grpc, "JSON": over_json}
