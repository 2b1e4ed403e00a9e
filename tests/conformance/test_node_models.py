"""Every node test of ONNX, served by a real process, is answered bit for bit as raw ONNX Runtime answers it.

A NaN counts as any other; no tolerance but for the cases of `ROUNDED`. `make conformance` serves all of them;
otherwise a choice that covers every operator.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.conformance.ask import TRANSPORTS, in_json
from tests.conformance.node_cases import NodeCase, near, read_cases, same
from tests.support.process import ServerProcess

PER_OPERATOR = 3
LEAST_CASES = 1300  # of onnx 1.19 and later with ONNX Runtime 1.31; fewer means that the reader lost some

# The only ones whose sums depend on where an input lies in memory.
ROUNDED = frozenset({"test_group_normalization_epsilon_expanded", "test_group_normalization_example_expanded"})


@pytest.fixture(scope="module")
def read() -> dict[str, NodeCase | str]:
    return dict(read_cases())


def choose(cases: Iterable[NodeCase], per_operator: int) -> list[NodeCase]:
    """The first cases by name of each operator."""
    seen: Counter[str] = Counter()
    chosen = []
    for case in sorted(cases, key=lambda case: case.name):
        if any(seen[operator] < per_operator for operator in case.operators):
            chosen.append(case)
            seen.update(case.operators)
    return chosen


def of(read: Mapping[str, NodeCase | str]) -> list[NodeCase]:
    return [case for case in read.values() if isinstance(case, NodeCase)]


def serve(cases: Iterable[NodeCase], folder: Path) -> ServerProcess:
    for case in cases:
        version = folder / "repository" / case.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(case.model)
    arguments = ["--repository", str(folder / "repository"), "--threads", "1"]
    # The trial is a process for each file, and these files are known.
    return ServerProcess(arguments, folder, env={"RETORT_TRIAL_MEMORY_BYTES": "0"}, ready_timeout_s=300)


def differences(server: ServerProcess, cases: Iterable[NodeCase]) -> tuple[Counter[str], list[str]]:
    """How many answers agreed by transport, and a sentence for each one that did not."""
    agreed: Counter[str] = Counter()
    wrong = []
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for case in cases:
            for transport in TRANSPORTS:
                if transport == "JSON" and not in_json(case):
                    continue
                problem = difference(server, stub, case, transport)
                agreed[transport] += not problem
                if problem:
                    wrong.append(f"{case.name} over {transport}: {problem}")
    return agreed, wrong


def difference(server: ServerProcess, stub: Any, case: NodeCase, transport: str) -> str:
    try:
        answered = TRANSPORTS[transport](server, stub, case)
    except (AssertionError, grpc.RpcError) as error:
        return str(error)[:300]
    if list(answered) != list(case.expected):
        return f"outputs {list(answered)}, expected {list(case.expected)}"
    judge = near if case.name in ROUNDED else same
    bad = [name for name in answered if not judge(answered[name], case.expected[name])]
    return f"other values in {bad}" if bad else ""


def served(server: ServerProcess, cases: Iterable[NodeCase]) -> tuple[list[NodeCase], dict[str, str]]:
    """The cases whose models the server serves, and by name why it refuses the others."""
    index = server.http.post("/v2/repository/index").json()
    refused = {entry["name"]: entry["reason"] for entry in index if entry["state"] != "READY"}
    return [case for case in cases if case.name not in refused], refused


def test_a_choice_that_covers_every_operator(read: dict[str, NodeCase | str], tmp_path: Path) -> None:
    cases = of(read)
    assert len(cases) > LEAST_CASES
    chosen = choose(cases, PER_OPERATOR)
    assert set().union(*(case.operators for case in chosen)) == set().union(*(case.operators for case in cases))
    with serve(chosen, tmp_path) as server:
        asked, refused = served(server, chosen)
        agreed, wrong = differences(server, asked)
        # A control: the comparison notices a value that is not the one expected.
        name, array = next(iter(asked[0].expected.items()))
        changed = replace(asked[0], expected={**asked[0].expected, name: np.full_like(array, 7)})
        assert len(differences(server, [changed])[1]) >= 2
    assert wrong == []
    assert refused == {}
    assert agreed["HTTP binary"] == agreed["gRPC"] == len(chosen)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_node_model(read: dict[str, NodeCase | str], tmp_path: Path) -> None:
    cases = of(read)
    began_s = time.perf_counter()
    with serve(cases, tmp_path) as server:
        ready_s = time.perf_counter() - began_s
        asked, refused = served(server, cases)
        agreed, wrong = differences(server, asked)
    table = [(count, reason) for reason, count in reasons(read).most_common()]
    table += [(count, f"answered exactly over {transport}") for transport, count in agreed.items()]
    sys.stdout.write(f"\n{len(cases)} models ready after {ready_s:.1f} s\n")
    sys.stdout.writelines(f"{count:6} {words}\n" for count, words in table)
    assert wrong == []
    assert refused == {}


def reasons(read: Mapping[str, NodeCase | str]) -> Counter[str]:
    return Counter(f"left out: {case}" if isinstance(case, str) else "run by ONNX Runtime" for case in read.values())
