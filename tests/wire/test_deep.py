"""A version that lies coded, over a real server: served, swapped to and back under requests, refused when damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.compress.deep_file import encode
from models.describe import file_entries
from service.repository.card import read_card
from tests.support.process import ServerProcess
from tests.wire.digits import DIGITS, INFER, ROWS, is_answer_of, tensor

MODEL = "/v2/repository/models/digits"
CODED = "1-int8"


def code(version: Path) -> int:
    """Puts model.deep in place of model.onnx, in the card too; the size of it."""
    data = encode((version / "model.onnx").read_bytes())
    card = read_card((version / "card.json").read_bytes())
    files = {name: entry for name, entry in card.files.items() if name != "model.onnx"}
    (version / "model.onnx").unlink()
    (version / "model.deep").write_bytes(data)
    (version / "card.json").write_bytes(
        card.model_copy(update={"files": files | file_entries({"model.deep": data})}).to_json()
    )
    return len(data)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, its variant coded and loaded only by a swap; and its full version coded, as `plain`."""
    root = tmp_path_factory.mktemp("deep") / "repository"
    shutil.copytree(DIGITS, root / "digits")
    config = root / "digits" / "model.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("versions:")]
    config.write_text("\n".join([*kept, "versions: active\n"]))
    code(root / "digits" / CODED)
    (root / "plain" / "1").mkdir(parents=True)
    (root / "plain" / "1" / "model.deep").write_bytes(encode((DIGITS / "1" / "model.onnx").read_bytes()))
    return root


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(["--repository", str(repository)], repository.parent) as running:
        yield running


def infer(client: httpx.Client, rows: Any = ROWS, path: str = INFER) -> tuple[str, Any]:
    answer = client.post(path, json={"inputs": [tensor(rows)]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["model_version"], body["outputs"][0]["data"]


def test_a_coded_version_without_a_card_answers_as_the_one_it_was_coded_from(server: ServerProcess) -> None:
    _, logits = infer(server.http, path="/v2/models/plain/infer")
    assert is_answer_of("1", logits, len(ROWS))


class Asker:
    """Two threads that ask on and on, in a `with` block.

    Attributes:
        seen: how often each version answered.
        wrong: what was no answer of the version that it named.
    """

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[object] = []
        self._url = url
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def wait_for_another_of(self, version: str, limit_s: float = 60.0) -> None:
        before, until_s = self.seen[version], time.monotonic() + limit_s
        while self.seen[version] <= before and not self.wrong and time.monotonic() < until_s:
            self._done.wait(0.01)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._done.is_set():
                try:
                    version, logits = infer(client, ROWS[:2])
                except (AssertionError, httpx.HTTPError) as error:
                    self.wrong.append(error)
                    return
                self.seen[version] += 1
                if not is_answer_of(version, logits, 2):
                    self.wrong.append((version, logits))

    def __enter__(self) -> Asker:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_it_is_swapped_to_and_back_under_requests(server: ServerProcess) -> None:
    with Asker(server.url) as asker:
        for version in (CODED, "1", CODED, "1"):
            answer = server.http.post(f"{MODEL}/swap", json={"version": version})
            assert answer.status_code == 200, answer.text
            assert answer.json()["golden"]["n"] >= 32
            asker.wait_for_another_of(version)
    assert asker.wrong == []
    assert set(asker.seen) == {"1", CODED}


def test_its_size_is_the_one_on_disk(server: ServerProcess, repository: Path) -> None:
    (described,) = server.http.get("/v2/models/plain/versions").json()["versions"]
    assert described["bytes"] == (repository / "plain" / "1" / "model.deep").stat().st_size
    assert described["bytes"] < (DIGITS / "1" / "model.onnx").stat().st_size


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "another CRC-32"),
        (lambda data: data[: len(data) // 2], "ends too early"),
        (lambda data: b"", "ends too early"),
        (lambda _: (DIGITS / "1" / "model.onnx").read_bytes(), "it begins otherwise"),
    ],
    ids=["a bit", "half", "empty", "not coded"],
)
def test_a_damaged_one_is_refused_and_the_server_stays_ready(
    server: ServerProcess, repository: Path, change: Any, said: str
) -> None:
    file = repository / "plain" / "1" / "model.deep"
    whole = file.read_bytes()
    file.write_bytes(change(whole))
    try:
        answer = server.http.post("/v2/repository/models/plain/load")
        assert 400 <= answer.status_code < 500
        assert said in answer.json()["error"] and "model.deep is not a coded model or is damaged" in answer.text
        assert server.http.get("/v2/health/ready").status_code == 200
        _, logits = infer(server.http, path="/v2/models/plain/infer")
        assert is_answer_of("1", logits, len(ROWS))
    finally:
        file.write_bytes(whole)
    assert server.http.post("/v2/repository/models/plain/load").status_code == 200


def test_a_swap_to_a_damaged_variant_is_refused(server: ServerProcess, repository: Path) -> None:
    file = repository / "digits" / CODED / "model.deep"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        answer = server.http.post(f"{MODEL}/swap", json={"version": CODED})
        assert answer.status_code == 400
        assert "'model.deep' has another sha256 than card.json says" in answer.json()["error"]
        version, logits = infer(server.http)
        assert version == "1" and is_answer_of("1", logits, len(ROWS))
    finally:
        file.write_bytes(whole)


def test_both_forms_in_one_folder_are_refused(server: ServerProcess, repository: Path) -> None:
    beside = repository / "plain" / "1" / "model.onnx"
    shutil.copy(DIGITS / "1" / "model.onnx", beside)
    try:
        answer = server.http.post("/v2/repository/models/plain/load")
        assert answer.status_code == 400
        assert "holds 'model.onnx' and 'model.deep'" in answer.json()["error"]
    finally:
        beside.unlink()


def test_check_and_models_know_it(server: ServerProcess, repository: Path) -> None:
    def retort(*arguments: str) -> str:
        command = [sys.executable, "-m", "service", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    lines = retort("check", str(repository)).splitlines()
    assert len(lines) == 8 and all(": ok" in line for line in lines)
    sizes = {
        (entry["model"], entry["version"]): entry["bytes"]
        for entry in json.loads(retort("models", "--json", "--url", server.url))
    }
    assert sizes["plain", "1"] == (repository / "plain" / "1" / "model.deep").stat().st_size


def test_one_coded_file_is_served(tmp_path: Path, repository: Path) -> None:
    shutil.copy(repository / "plain" / "1" / "model.deep", tmp_path / "net.deep")
    with ServerProcess([str(tmp_path / "net.deep")], tmp_path) as running:
        _, logits = infer(running.http, path="/v2/models/net/infer")
    assert is_answer_of("1", logits, len(ROWS))
