"""A small correct v2 server as a WSGI application, with defects that can be switched on one at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SHAPE = [-1, 2]
EXTENSIONS = ["binary_tensor_data", "statistics", "model_repository", "model_configuration", "classification"]
LENGTH = "Inference-Header-Content-Length"
METADATA = {
    "name": "double",
    "versions": ["1"],
    "platform": "reference",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": SHAPE}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": SHAPE}, {"name": "z", "datatype": "FP32", "shape": SHAPE}],
}
Answer = tuple[int, bytes, dict[str, str]]


class Refusal(Exception):
    """A 4xx with its sentence."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def need(holds: bool, sentence: str, status: int = 400) -> None:
    if not holds:
        raise Refusal(sentence, status)


def as_json(document: Any, status: int = 200) -> Answer:
    return status, json.dumps(document).encode(), {"Content-Type": "application/json"}


class ReferenceServer:
    """Doubles `x` into `y` and triples it into `z`.

    Args:
        defect: what it does wrong, "" for nothing.
    """

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.successes = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        length = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
        try:
            answer = self.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, length)
        except Refusal as refusal:
            answer = self.refuse(refusal)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            answer = self.refuse(Refusal(f"malformed: {error}"[:100]))
        start(f"{answer[0]} status", [*answer[2].items(), ("Content-Length", str(len(answer[1])))])
        return [answer[1]]

    def refuse(self, refusal: Refusal) -> Answer:
        if self.defect == "500 on bad input":
            return as_json({"error": str(refusal)}, 500)
        if self.defect == "200 on error":
            return as_json({"error": str(refusal)}, 200)
        if self.defect == "error under another key":
            return as_json({"detail": str(refusal)}, 422)
        return as_json({"error": str(refusal)}, refusal.status)

    def answer(self, method: str, path: str, body: bytes, length: str | None) -> Answer:
        parts = path.strip("/").split("/")[1:]
        if parts[:1] == ["models"]:
            return self.of_model(method, parts[1:], body, length)
        fixed: dict[str, Any] = {
            "": self.server(),
            "health/live": {"live": True},
            "health/ready": {"live": True},
            "repository/index": [{"name": "double", "version": "1", "state": "READY"}],
        }
        need("/".join(parts) in fixed, "no such path", 404)
        if self.defect == "never ready" and parts == ["health", "ready"]:
            return as_json({}, 503)
        if self.defect == "index is an object" and parts == ["repository", "index"]:
            return as_json({"models": []})
        return as_json(fixed["/".join(parts)])

    def server(self) -> dict[str, Any]:
        if self.defect == "wrong key names":
            return {"server_name": "reference", "version": "1", "extensions": EXTENSIONS}
        if self.defect == "extensions are one text":
            return {"name": "reference", "version": "1", "extensions": ",".join(EXTENSIONS)}
        return {"name": "reference", "version": "1", "extensions": EXTENSIONS}

    def of_model(self, method: str, parts: list[str], body: bytes, length: str | None) -> Answer:
        if self.defect == "every model is ready" and parts[1:] == ["ready"]:
            return as_json({})
        need(parts[0] == "double", "no such model", 404)
        if parts[1:2] == ["versions"]:
            need(parts[2] == "1" and self.defect != "versions cannot be asked", "no such version", 404)
            parts = [parts[0], *parts[3:]]
        what = parts[1] if len(parts) > 1 else ""
        if what == "infer":
            if self.defect == "every verb" and method != "POST":
                return as_json({})
            need(method == "POST", "POST only", 405)
            return self.infer(body, None if length is None else int(length))
        found = {"": self.metadata(), "ready": {"name": "double", "ready": True}, "config": self.config()}
        found["stats"] = {"model_stats": [{"inference_stats": {"success": {"count": self.successes}}}]}
        return as_json(found[what])

    def metadata(self) -> dict[str, Any]:
        if self.defect == "variable dimension is null":
            return METADATA | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [None, 2]}]}
        if self.defect == "no platform":
            return {key: value for key, value in METADATA.items() if key != "platform"}
        return METADATA

    def config(self) -> dict[str, Any]:
        name = "other" if self.defect == "config of another model" else "double"
        return {"name": name, "max_batch_size": 0, "input": [{"name": "x"}]}

    def infer(self, body: bytes, length: int | None) -> Answer:
        need(length is None or length <= len(body), "the header is longer than the body")
        if length == 0:
            need(self.defect != "raw requests are refused", "a JSON head is needed")
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": len(body)}}
            head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            body, length = head + body, len(head)
        document = json.loads(body[:length])
        need(isinstance(document, dict), "not an object")
        x = self.read(document, body[len(body) if length is None else length :])
        y = x * (3 if self.defect == "binary input is misread" and length is not None else 2)
        computed = {"y": y, "z": x * 3}
        wanted = document.get("outputs") or [{"name": name} for name in computed]
        for output in wanted:
            known = output["name"] in computed or self.defect == "unknown outputs are ignored"
            need(known, "no such output")
        if self.defect == "selection is ignored":
            wanted = [{"name": name} for name in computed]
        if self.defect == "statistics stand still":
            self.successes -= 1
        self.successes += 1
        known_outputs = [output for output in wanted if output["name"] in computed]
        return self.write(document, known_outputs, computed)

    def read(self, document: dict[str, Any], blob: bytes) -> Any:
        inputs = document["inputs"]
        need([entry["name"] for entry in inputs] == ["x"], "exactly the input x")
        entry = inputs[0]
        shape = entry["shape"]
        need(entry["datatype"] == "FP32" or self.defect == "datatype is not checked", "FP32 only")
        need(len(shape) == 2 and shape[1] == 2 and 0 <= shape[0] < 1000, "shape [-1, 2]")
        size = (entry.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            need(size == len(blob) == 4 * math.prod(shape) or self.defect == "lengths are not checked", "bytes")
            return np.frombuffer(blob[: 4 * math.prod(shape)].ljust(4 * math.prod(shape), b"\0"), "<f4").reshape(shape)
        need(not blob, "bytes left over")
        if self.defect == "nested data are refused":
            need(not isinstance(entry["data"][0], list), "flat only")
        if self.defect == "500 on hostile input" and entry["data"] != entry["data"]:
            raise Refusal("NaN", 500)
        if self.defect == "500 on a huge number" and any(isinstance(n, int) and n > 1e30 for n in entry["data"]):
            raise Refusal("huge", 500)
        if self.defect == "datatype is not checked" and entry["datatype"] != "FP32":
            return np.zeros(shape, "<f4")
        return np.asarray(entry["data"], "<f4").reshape(shape)

    def write(self, document: dict[str, Any], wanted: list[dict[str, Any]], computed: dict[str, Any]) -> Answer:
        parameters = document.get("parameters") or {}
        if self.defect == "unknown parameters are refused":
            need("conformance_text" not in parameters, "unknown parameter")
        outputs, blobs = [], []
        for output in wanted:
            own = output.get("parameters") or {}
            array = computed[output["name"]]
            entry: dict[str, Any] = {"name": output["name"], "datatype": "FP32", "shape": list(array.shape)}
            if self.defect == "output shape is flat":
                entry["shape"] = [array.size]
            if "classification" in own:
                best = int(np.argmax(array))
                text = f"{array.ravel()[best]}" + ("" if self.defect == "classes without index" else f":{best}")
                entry |= {"datatype": "BYTES", "shape": [1, 1], "data": [text]}
            elif self.is_binary(own, parameters):
                blobs.append(array.tobytes())
                extra = 4 if self.defect == "binary size wrong" else 0
                entry["parameters"] = {"binary_data_size": len(blobs[-1]) + extra}
            else:
                entry["data"] = array.ravel().tolist()
            outputs.append(entry)
        answered = {"model_name": "double", "model_version": "1", "outputs": outputs}
        if "id" in document and self.defect != "id not echoed":
            answered["id"] = document["id"]
        if self.defect == "no model name":
            del answered["model_name"]
        head = json.dumps(answered).encode()
        kind = "text/plain" if self.defect == "JSON as text" else "application/json"
        return 200, b"".join([head, *blobs]), {LENGTH: str(len(head))} if blobs else {"Content-Type": kind}

    def is_binary(self, own: dict[str, Any], parameters: dict[str, Any]) -> bool:
        everything = parameters.get("binary_data_output", False)
        if self.defect == "an output's wish is ignored":
            return bool(everything)
        if self.defect == "never binary":
            return False
        return bool(own.get("binary_data", everything))
