"""A repository in which files are none, or change: each load is refused in one sentence, and others serve."""

from __future__ import annotations

import io
import os
import pickle
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.support.live_watch import LiveWatch
from tests.support.process import ServerProcess
from tests.unit.runtime.graphs import identity

ONNX = identity(TensorProto.FLOAT, ("N", 4))
WITHIN_S = 20.0  # what hangs never ends
INPUT, ROWS = "input/x", np.ones((3, 4), np.float32)
Spoil = Callable[[Path], object]


class Ends:
    """What would end its reader."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def archive(content: bytes) -> bytes:
    """A golden.npz of one member with that content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{INPUT}.npy", content)
    return file.getvalue()


def npy(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def arrays(**named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name.replace("_", "/", 1): array for name, array in named.items()})  # type: ignore[arg-type]
    return file.getvalue()


def bind(path: Path) -> None:
    """A socket of that name, however long its path is."""
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def golden(content: Callable[[], bytes]) -> Spoil:
    def spoil(version: Path) -> None:
        (version / "model.onnx").write_bytes(ONNX)
        (version / "golden.npz").write_bytes(content())

    return spoil


def beside(name: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(version: Path) -> None:
        (version / "model.onnx").write_bytes(ONNX)
        make(version / name)

    return spoil


def sparse(version: Path) -> None:
    with (version / "model.onnx").open("wb") as file:
        file.truncate(3 << 30)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "a pipe": (lambda version: os.mkfifo(version / "model.onnx"), "is not a regular file"),
    "a pipe as model.yaml": (beside("../model.yaml", os.mkfifo), "is not a regular file"),
    "a pipe as config.pbtxt": (beside("../config.pbtxt", os.mkfifo), "is not a regular file"),
    "a pipe as card.json": (beside("card.json", os.mkfifo), "is not a regular file"),
    "a pipe as golden.npz": (beside("golden.npz", os.mkfifo), "is not a regular file"),
    "a socket": (lambda version: bind(version / "model.onnx"), "it is a socket"),
    "a folder": (lambda version: (version / "model.onnx").mkdir(), "has no readable file"),
    "a folder as golden.npz": (beside("golden.npz", Path.mkdir), "is not a regular file"),
    "a link to itself": (lambda version: (version / "model.onnx").symlink_to("model.onnx"), "it is a symbolic link"),
    "a link out": (lambda version: (version / "model.onnx").symlink_to("/proc/self/mem"), "it is a symbolic link"),
    "a second name": (lambda version: os.link(outside(version), version / "model.onnx"), "is a hard link"),
    "nothing": (lambda version: (version / "model.onnx").touch(), "is not an ONNX file or is damaged"),
    "a hole of 3 GiB": (sparse, "more than the limit"),
    "a pickle": (golden(lambda: pickle.dumps(Ends())), "is not a numpy archive"),
    "a pickle in an archive": (golden(lambda: arrays(input_x=np.array([Ends()], object))), "a type that no tensor has"),
    "a bomb": (golden(lambda: archive(npy((1 << 27, 1)) + bytes(1 << 29))), "more than the limit"),
    "an array of 4 TiB": (golden(lambda: archive(npy((1 << 40,)))), "holds another number"),
    "rows of less than none": (golden(lambda: archive(npy((-1, 4)))), "has no rows"),
    "rows of another shape": (golden(lambda: arrays(input_x=ROWS[:, :3], output_y=ROWS)), "does not run on its own"),
    "unequal rows": (golden(lambda: arrays(input_x=ROWS, output_y=ROWS[:2])), "the same number of rows"),
}


def outside(version: Path) -> Path:
    """A file that is not the repository's."""
    file = version.parents[2] / "outside.onnx"
    file.write_bytes(ONNX)
    return file


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("hostile") / "repository"
    (folder / "good" / "1").mkdir(parents=True)
    (folder / "good" / "1" / "model.onnx").write_bytes(ONNX)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(["--repository", str(repository)], repository.parent) as running:
        yield running


def check_good(server: ServerProcess) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}
    answer = server.http.post("/v2/models/good/infer", json={"inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == tensor["data"]


@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_no_model_is_refused_in_one_sentence(server: ServerProcess, repository: Path, kind: str) -> None:
    spoil, words = SPOILT[kind]
    model = kind.replace(" ", "-")
    version = repository / model / "1"
    version.mkdir(parents=True)
    spoil(version)
    before_bytes = server.resident_bytes()
    with LiveWatch(server.port) as live:
        began_s = time.monotonic()
        refused = server.http.post(f"/v2/repository/models/{model}/load")
        assert time.monotonic() - began_s < WITHIN_S
        check_good(server)
    assert refused.status_code == 400
    assert words in refused.json()["error"]
    assert str(repository) not in refused.text
    assert len(refused.text) < 500
    assert server.resident_bytes() - before_bytes < 64 << 20
    live.check_prompt()
    assert server.http.get(f"/v2/models/{model}/ready").status_code != 200


@contextmanager
def meanwhile(change: Callable[[], object]) -> Iterator[None]:
    """Does that again and again while the `with` block lasts."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            change()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_file_that_changes_while_it_is_loaded_is_loaded_whole_or_refused(
    server: ServerProcess, repository: Path
) -> None:
    file = repository / "changing" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(ONNX)
    contents = [ONNX[:50], b"", ONNX + bytes(1 << 20), ONNX]
    turn = iter(range(1 << 30))
    seen = set()
    with meanwhile(lambda: file.write_bytes(contents[next(turn) % len(contents)])):
        for _ in range(40):
            answer = server.http.post("/v2/repository/models/changing/load")
            seen.add(answer.status_code)
            assert answer.status_code in (200, 400), answer.text
            check_good(server)
    assert 400 in seen
    file.write_bytes(ONNX)
    assert server.http.post("/v2/repository/models/changing/load").status_code == 200
    assert server.http.get("/v2/models/changing/ready").status_code == 200
