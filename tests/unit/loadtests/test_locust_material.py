"""The judge of the locustfile's answers: without Locust, which would patch this process."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from loadtests.generator.block import Answer
from loadtests.locust_users.material import Material
from loadtests.pools import Rows, Signature

IMAGES = np.arange(6, dtype=np.float32).reshape(3, 2)
LOGITS = {"1": IMAGES + 1, "1-int8": IMAGES * 2}


def material(version: str) -> Material:
    references = {one: Rows({"image": IMAGES}, expected={"logits": LOGITS[one]}) for one in LOGITS}
    kept = {version: references[version]} if version else references
    return Material("m", version, Signature({"image": "FP32"}, {"logits": "FP32"}), kept, key="k")


def http_answer(version: str, row: np.ndarray) -> Answer:
    output = {"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": row.ravel().tolist()}
    return Answer(json.dumps({"model_version": version, "outputs": [output]}).encode(), 0)


def grpc_answer(version: str, row: np.ndarray) -> Answer:
    given = service_pb2.ModelInferResponse(model_version=version, raw_output_contents=[row.tobytes()])
    given.outputs.add(name="logits", datatype="FP32", shape=[1, 2])
    return Answer(given.SerializeToString(), 0)


@pytest.mark.parametrize(("protocol", "answer"), [("http", http_answer), ("grpc", grpc_answer)])
def test_a_fault_has_a_name(protocol, answer) -> None:  # type: ignore[no-untyped-def]
    asked = material("1").judge(protocol)
    assert asked.fault_in(answer("1", LOGITS["1"][2:]), 2) is None
    assert asked.fault_in(answer("1", LOGITS["1"][2:] + 0.5), 2) == "wrong answer of 1"
    assert asked.fault_in(answer("1", LOGITS["1"][1:2]), 2) == "wrong answer of 1"  # a neighbour's
    assert asked.fault_in(answer("1-int8", LOGITS["1"][2:]), 2) == "another version: 1-int8 answered for 1"
    assert asked.fault_in(Answer(b"\xffno", 0), 2) == "unreadable answer: no inference response of the protocol"


@pytest.mark.parametrize(("protocol", "answer"), [("http", http_answer), ("grpc", grpc_answer)])
def test_without_a_version_each_answer_is_held_against_the_version_that_it_names(protocol, answer) -> None:  # type: ignore[no-untyped-def]
    active = material("").judge(protocol)
    for version, logits in LOGITS.items():
        assert active.fault_in(answer(version, logits[1:2]), 1) is None
    assert active.fault_in(answer("1", LOGITS["1-int8"][1:2]), 1) == "wrong answer of 1"
    assert active.fault_in(answer("7", LOGITS["1"][1:2]), 1) == "unknown version: 7 answered"


def test_requests_carry_the_rows_and_the_key() -> None:
    binary, text = (material("1").http_requests(encoding)[1] for encoding in ("binary", "json"))
    assert binary.headers["Authorization"] == "Bearer k"
    length = int(binary.headers["Inference-Header-Content-Length"])
    assert binary.body[length:] == IMAGES[1].tobytes()
    assert json.loads(text.body)["inputs"][0]["data"] == IMAGES[1].tolist()
    assert service_pb2.ModelInferRequest.FromString(material("1").grpc_requests()[1]).model_version == "1"
    assert material("").path == "/v2/models/m/infer" and material("1").name == "m/1"


@pytest.mark.parametrize(
    "module", ["loadtests.commands.tune", "loadtests.commands.compare", "loadtests.generator.process"]
)
def test_no_command_and_no_generator_imports_locust(module: str) -> None:
    """Locust patches sockets, threads and time of its process; a fresh interpreter shows that it is not imported."""
    pytest.importorskip(module, reason=f"{module} is not there yet")
    code = f"import sys, {module}, loadtests.comparison, loadtests.generator.sender; print(sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "'loadtests.comparison'" in told.stdout
    assert "'locust'" not in told.stdout and "'gevent'" not in told.stdout
