"""Tensors in system shared memory, by Triton's own clients and its own module for regions."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from tests.support.process import ServerProcess
from tests.wire.digits import ANSWERS, INPUT, OUTPUT, ROWS, is_answer_of

pytestmark = pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="/dev/shm cannot be written here")

SPAN_BYTES = 1 << 20  # of each half of a region: inputs in front, outputs behind
Region = tuple[str, Any]


@pytest.fixture
def client(sharing: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{sharing.port}") as connected:
        yield connected


@pytest.fixture
def new_region(client: Any) -> Iterator[Callable[..., Region]]:
    """Makes regions that are registered under a name of their own, and takes them away at the end."""
    made: list[Region] = []

    def new(size: int = 2 * SPAN_BYTES) -> Region:
        name = f"retort-test-{uuid.uuid4().hex}"
        made.append((name, shm.create_shared_memory_region(name, name, size)))
        client.register_system_shared_memory(name, name, size)
        return made[-1]

    yield new
    for name, handle in made:
        client.unregister_system_shared_memory(name)
        shm.destroy_shared_memory_region(handle)


def tensors(region: Region, name: str, out: str, rows: Any, datatype: str, out_bytes: int) -> tuple[Any, Any]:
    """The rows laid into the front half of a region, and an output asked for in its back half."""
    laid = serialize_byte_tensor(rows) if datatype == "BYTES" else rows
    shm.set_shared_memory_region(region[1], [laid])
    sent = triton.InferInput(name, list(rows.shape), datatype)
    sent.set_shared_memory(region[0], len(laid.item()) if datatype == "BYTES" else laid.nbytes)
    wanted = triton.InferRequestedOutput(out)
    wanted.set_shared_memory(region[0], out_bytes, offset=SPAN_BYTES)
    return sent, wanted


def test_digits_are_answered_as_over_the_socket(client: Any, new_region: Callable[..., Region]) -> None:
    region = new_region()
    sent, wanted = tensors(region, INPUT, OUTPUT, ROWS, "FP32", ANSWERS["1"].nbytes)
    answer = client.infer("digits", [sent], "1", outputs=[wanted])
    assert answer.get_output(OUTPUT) == {"name": OUTPUT, "datatype": "FP32", "shape": list(ANSWERS["1"].shape)}
    found = shm.get_contents_as_numpy(region[1], np.float32, ANSWERS["1"].shape, SPAN_BYTES)
    assert is_answer_of("1", found, len(ROWS))
    plain = triton.InferInput(INPUT, list(ROWS.shape), "FP32")
    plain.set_data_from_numpy(ROWS)
    np.testing.assert_array_equal(found, client.infer("digits", [plain], "1").as_numpy(OUTPUT))


async def test_the_asynchronous_client_too(
    sharing: ServerProcess, client: Any, new_region: Callable[..., Region]
) -> None:
    regions = [new_region() for _ in range(4)]
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{sharing.port}") as asynchronous:
        pairs = [tensors(region, INPUT, OUTPUT, ROWS[i : i + 2], "FP32", 80) for i, region in enumerate(regions)]
        await asyncio.gather(*(asynchronous.infer("digits", [sent], outputs=[wanted]) for sent, wanted in pairs))
        told = await asynchronous.get_system_shared_memory_status(regions[2][0])
    assert told == [{"name": regions[2][0], "key": regions[2][0], "offset": 0, "byte_size": 2 * SPAN_BYTES}]
    for i, region in enumerate(regions):
        found = shm.get_contents_as_numpy(region[1], np.float32, (2, 10), SPAN_BYTES)
        assert np.abs(found - ANSWERS["1"][i : i + 2]).max() < 0.01


def test_texts_and_large_tensors_come_back_as_they_were(client: Any, new_region: Callable[..., Region]) -> None:
    words = np.array([b"hello", b"", "größer".encode(), b"a\x01"], dtype=np.object_)
    pixels = np.random.default_rng(0).standard_normal((1, 150_528)).astype(np.float32)
    for model, rows, datatype, dtype in (("words", words, "BYTES", np.object_), ("large", pixels, "FP32", np.float32)):
        region = new_region()
        sent, wanted = tensors(region, "x", "y", rows, datatype, SPAN_BYTES)
        client.infer(model, [sent], outputs=[wanted])
        np.testing.assert_array_equal(shm.get_contents_as_numpy(region[1], dtype, rows.shape, SPAN_BYTES), rows)


async def test_grpc_s_clients_use_the_same_regions(
    sharing: ServerProcess, client: Any, new_region: Callable[..., Region]
) -> None:
    region = new_region()
    shm.set_shared_memory_region(region[1], [ROWS])
    sent, wanted = triton_grpc.InferInput(INPUT, list(ROWS.shape), "FP32"), triton_grpc.InferRequestedOutput(OUTPUT)
    sent.set_shared_memory(region[0], ROWS.nbytes)
    async with triton_grpc_aio.InferenceServerClient(sharing.grpc) as asynchronous:
        for at, version in enumerate(ANSWERS):
            wanted.set_shared_memory(region[0], ANSWERS["1"].nbytes, offset=SPAN_BYTES + at * 4096)
            await asynchronous.infer("digits", [sent], version, outputs=[wanted])
            found = shm.get_contents_as_numpy(region[1], np.float32, ANSWERS["1"].shape, SPAN_BYTES + at * 4096)
            assert is_answer_of(version, found, len(ROWS))
    with triton_grpc.InferenceServerClient(sharing.grpc) as plain:
        told = plain.get_system_shared_memory_status(region[0], as_json=True)["regions"][region[0]]
        assert (told["key"], int(told["byte_size"])) == (region[0], 2 * SPAN_BYTES)
        plain.unregister_system_shared_memory(region[0])
        assert client.get_system_shared_memory_status() == []
        plain.register_system_shared_memory(region[0], region[0], 64, offset=16)
        assert client.get_system_shared_memory_status(region[0])[0]["offset"] == 16
        with pytest.raises(InferenceServerException, match="already in manager"):
            plain.register_system_shared_memory(region[0], region[0], 64)
        with pytest.raises(InferenceServerException, match="Invalid offset"):
            plain.infer("digits", [sent])


def test_a_region_shortened_under_the_server_harms_nobody(
    sharing: ServerProcess, client: Any, new_region: Callable[..., Region]
) -> None:
    region, other = new_region(), new_region()
    sent, wanted = tensors(region, INPUT, OUTPUT, ROWS[:1], "FP32", 40)
    client.infer("digits", [sent], outputs=[wanted])
    os.truncate(f"/dev/shm/{region[0]}", 100)
    with pytest.raises(InferenceServerException, match="was shortened") as refused:
        client.infer("digits", [sent], outputs=[wanted])
    assert refused.value.status() == "400"
    assert sharing.process.poll() is None
    client.infer("digits", list(tensors(other, INPUT, OUTPUT, ROWS[:1], "FP32", 40))[:1])


def test_what_does_not_fit_or_is_not_there_is_said(client: Any, new_region: Callable[..., Region]) -> None:
    region = new_region()
    sent, wanted = tensors(region, INPUT, OUTPUT, ROWS[:1], "FP32", 39)
    with pytest.raises(InferenceServerException, match="has 40 bytes, more than the 39"):
        client.infer("digits", [sent], outputs=[wanted])
    sent.set_shared_memory("nowhere", 256)
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'nowhere'"):
        client.infer("digits", [sent])
    with pytest.raises(InferenceServerException, match="already in manager"):
        client.register_system_shared_memory(region[0], region[0], 64)
    for key in ("../etc/passwd", "/etc/passwd", "retort-test-none"):
        with pytest.raises(InferenceServerException, match=r"'key'|Unable to open"):
            client.register_system_shared_memory("r", key, 16)


def test_without_the_option_everything_is_refused_with_its_name(server: ServerProcess) -> None:
    sent = triton.InferInput(INPUT, [1, 1, 8, 8], "FP32")
    sent.set_shared_memory("r", 256)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        for use in (
            lambda: client.register_system_shared_memory("r", "r", 256),
            client.get_system_shared_memory_status,
            client.unregister_system_shared_memory,
            lambda: client.infer("digits", [sent]),
        ):
            with pytest.raises(InferenceServerException, match="--shared-memory"):
                use()
        assert "system_shared_memory" not in client.get_server_metadata()["extensions"]
    with triton_grpc.InferenceServerClient(server.grpc) as plain:
        for use in (plain.get_system_shared_memory_status, plain.unregister_system_shared_memory):
            with pytest.raises(InferenceServerException, match="--shared-memory"):
                use()
