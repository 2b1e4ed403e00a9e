"""What the server makes of a process that a model took over: played here by the test itself, over the same sockets."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.core import errors
from service.core.contract import Array, TensorSpec
from service.core.errors import BadInput, RetortError, RunFailed
from service.runtime.isolation import wire
from service.runtime.isolation.child import Child
from service.runtime.isolation.recipe import Recipe
from service.runtime.isolation.wire import Gone, MemoryFile, Message
from service.runtime.providers import RunnerOptions

SPEC = {"name": "x", "datatype": "FP32", "dims": ["N", 2]}
READY = {"inputs": [SPEC], "outputs": [SPEC], "omitted_outputs": [], "provider": "cpu"}
OUTPUTS = (TensorSpec("x", "FP32", ("N", 2)),)
ROW = {"x": np.ones((1, 2), np.float32)}
MIB = 1 << 20


class Puppet:
    """The other side of a `Child`, and a process for it to kill."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        ours, self._server = wire.pair()
        self.child = Child(self._process.pid, os.pidfd_open(self._process.pid), ours)
        self.inputs = self.outputs = MemoryFile.new("none yet")
        self.stops: socket.socket | None = None

    def load(self, answer: Message, descriptors: list[int] | None = None, memory_bytes: int = MIB) -> None:
        with ThreadPoolExecutor(1) as pool:
            recipe = Recipe(b"", {}, RunnerOptions(), memory_bytes)
            loading = pool.submit(self.child.load, recipe, 0, lambda: False)
            _, [lifeline, stops, model, inputs, outputs] = wire.receive(self._server)
            os.close(model)
            os.close(lifeline)
            self.stops = socket.socket(fileno=stops)
            self.inputs, self.outputs = MemoryFile(inputs), MemoryFile(outputs)
            wire.send(self._server, answer, descriptors or [])
            loading.result(20)

    def run(self, answer: Message, arrays: dict[str, Array] | None = None) -> dict[str, Array]:
        """A run that is answered so; `number` in the answer becomes that of the run."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.child.run, ROW)
            message, _ = wire.receive(self._server)
            assert_array_equal(self.inputs.read(message["inputs"], MIB)["x"], ROW["x"])
            outputs = self.outputs.write(arrays) if arrays is not None else None
            wire.send(self._server, {"run": message["run"], "outputs": outputs, **answer})
            return running.result(20)

    def close(self) -> None:
        self.child.close()
        self._server.close()
        if self.stops is not None:
            self.stops.close()
        self._process.wait(20)
        assert self._process.stdin is not None
        self._process.stdin.close()


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    made = Puppet()
    yield made
    made.close()


def test_one_that_tells_the_truth_is_believed(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    signature = puppet.child.signature
    assert (signature.inputs, signature.outputs, puppet.child.provider) == (OUTPUTS, OUTPUTS, "cpu")
    assert_array_equal(puppet.run({}, {"x": ROW["x"] * 2})["x"], ROW["x"] * 2)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ready": None},
        {"ready": []},
        {"ready": {**READY, "outputs": []}},
        {"ready": {**READY, "inputs": {}}},
        {"ready": {**READY, "inputs": [7]}},
        {"ready": {**READY, "inputs": [{**SPEC, "name": 7}]}},
        {"ready": {**READY, "inputs": [{**SPEC, "datatype": "STRANGE"}]}},
        {"ready": {**READY, "inputs": [{**SPEC, "dims": "N"}]}},
        {"ready": {**READY, "inputs": [{**SPEC, "dims": [True]}]}},
        {"ready": {**READY, "inputs": [{**SPEC, "dims": [[1]]}]}},
        {"ready": {**READY, "provider": "cuda; rm"}},
        {"error": "a text"},
        {"error": ["SystemExit", "0"]},
        {"error": ["RetortError", "its root"]},
        {"error": ["BadModel", 7]},
        {"error": ["BadModel", "one", "more"]},
    ],
)
def test_a_signature_that_is_none_is_a_death(puppet: Puppet, answer: Message) -> None:
    with pytest.raises(Gone):
        puppet.load(answer)


@pytest.mark.parametrize(
    "kind", ["BadInput", "BadModel", "DoesNotFit", "ProviderMissing", "RunFailed", "Stuck", "Unavailable"]
)
def test_an_error_of_ours_is_raised_as_one_line(puppet: Puppet, kind: str) -> None:
    puppet.load({"ready": READY})
    with pytest.raises(RetortError) as raised:
        puppet.run({"error": [kind, "one\nline\x1b[31m " + "x" * 5000]})
    assert type(raised.value) is getattr(errors, kind)
    assert str(raised.value).startswith("oneline[31m xxx")
    assert len(str(raised.value)) <= 1000


@pytest.mark.parametrize(
    ("answer", "arrays"),
    [
        ({"run": 7}, ROW),
        ({"run": None}, ROW),
        ({}, None),
        ({}, {}),
        ({}, {"y": ROW["x"]}),
        ({}, {"x": ROW["x"].astype(np.float64)}),
        ({}, {**ROW, "y": ROW["x"]}),
        (
            {"outputs": [["x", "FP32", [1 << 18, 2], 2 * MIB]]},
            {"x": np.zeros((1 << 18, 2), np.float32)},
        ),  # over its bound
        ({"outputs": [["x", "FP32", [9, 2], 72]]}, ROW),  # more than it wrote
    ],
)
def test_an_answer_that_is_none_is_a_death(puppet: Puppet, answer: Message, arrays: dict[str, Array] | None) -> None:
    puppet.load({"ready": READY})
    with pytest.raises(Gone):
        puppet.run(answer, arrays)


def test_descriptors_that_nobody_asked_for_are_closed(puppet: Puppet) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    puppet.load({"ready": READY}, [writing] * 3)
    os.close(writing)
    assert os.read(reading, 1) == b"", "somebody holds the other end"
    os.close(reading)


def test_an_output_written_over_after_the_answer_stays_what_it_was(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    found = puppet.run({}, ROW)["x"]
    os.pwrite(puppet.outputs.descriptor, b"\xff" * 8, 0)
    assert_array_equal(found, ROW["x"])


def test_an_input_that_cannot_be_written_down_starts_no_run(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    with pytest.raises(BadInput):
        puppet.child.run({"x": ROW["x"].astype(">f4")})
    assert_array_equal(puppet.run({}, ROW)["x"], ROW["x"])


def test_no_memory_for_an_input_fails_that_run(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    puppet.load({"ready": READY})
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        with pytest.raises(RunFailed, match="not enough memory"):
            puppet.child.run(ROW)


@pytest.mark.parametrize("seal", [fcntl.F_SEAL_WRITE, fcntl.F_SEAL_GROW])
def test_one_that_seals_what_it_is_to_read_is_dead(puppet: Puppet, seal: int) -> None:
    puppet.load({"ready": READY})
    fcntl.fcntl(puppet.inputs.descriptor, fcntl.F_ADD_SEALS, seal)
    with pytest.raises(Gone, match="sealed"):
        puppet.child.run(ROW)


def test_one_that_ended_is_dead_though_another_holds_its_sockets(puppet: Puppet) -> None:
    """As a process does that it started itself: its end is never heard on them."""
    puppet.load({"ready": READY})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(puppet.child.run, ROW)
        wire.receive(puppet._server)
        os.kill(puppet.child.pid, signal.SIGKILL)
        try:
            with pytest.raises(Gone, match="it ended"):
                running.result(20)
        finally:
            puppet._server.close()


def test_one_that_reads_nothing_and_answers_is_dead_and_holds_nobody_up(puppet: Puppet) -> None:
    """What it does not read fills its socket; the run that finds it full does not wait."""
    puppet.load({"ready": READY})
    outputs = puppet.outputs.write(ROW)

    def run_on() -> None:
        for number in range(1, 100_000):
            wire.send(puppet._server, {"run": number, "outputs": outputs})
            puppet.child.run(ROW)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_on)
        try:
            with pytest.raises(Gone, match="does not read"):
                running.result(20)
        finally:
            puppet._server.close()


@pytest.mark.parametrize(("floats", "enough"), [(17 * MIB, False), (MIB, True)], ids=["large", "small"])
def test_a_large_answer_for_which_there_is_no_memory_left_fails_that_run(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch, floats: int, enough: bool
) -> None:
    """What it was allowed to take when it began, others may have taken since; what is small is not looked at."""
    puppet.load({"ready": READY}, memory_bytes=128 * MIB)
    monkeypatch.setattr("service.runtime.memory.available_bytes", lambda: MIB)
    large = {"x": np.zeros((floats // 2, 2), np.float32)}
    if enough:
        assert_array_equal(puppet.run({}, large)["x"], large["x"])
        return
    with pytest.raises(RunFailed, match="not enough memory"):
        puppet.run({}, large)


def test_one_that_seals_what_it_wrote_costs_no_answer(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    fcntl.fcntl(puppet.outputs.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    os.ftruncate(puppet.outputs.descriptor, 65 * MIB)
    assert_array_equal(puppet.run({}, ROW)["x"], ROW["x"])


def test_an_input_larger_than_its_memory_starts_no_run(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    with pytest.raises(RunFailed, match="not enough memory"):
        puppet.child.run({"x": np.zeros((MIB, 2), np.float32)})
    assert_array_equal(puppet.run({}, ROW)["x"], ROW["x"])


def test_to_kill_a_closed_one_harms_nobody(puppet: Puppet) -> None:
    """Its handle's number is given to the next that is opened, which may be another process's."""
    puppet.load({"ready": READY})
    asleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(asleep, stdin=subprocess.PIPE) as other:
        puppet.child.close()
        handles = [os.pidfd_open(other.pid) for _ in range(40)]
        assert puppet.child._handle in handles
        puppet.child.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        for handle in handles:
            os.close(handle)


def test_a_closed_one_is_dead_and_holds_nothing(puppet: Puppet) -> None:
    puppet.load({"ready": READY})
    assert puppet.child.alive
    assert puppet.child.resident_bytes > 0
    puppet.child.close()
    assert not puppet.child.alive
    assert puppet.child.resident_bytes == 0
    puppet.child.kill()
    puppet.child.stop()
    puppet.child.close()
