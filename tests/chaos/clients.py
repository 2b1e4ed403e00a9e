"""Clients who read their answers: each sends once, judges what came back, and writes it into the tally."""

from __future__ import annotations

import random

import httpx
import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from tests.chaos import world
from tests.chaos.tally import Tally
from tests.wire.digits import INPUT, OUTPUT, ROWS, image, tensor
from tests.wire.test_hostile_http import BODIES

ANSWER_LIMIT_BYTES = 4096
GREEDY_ROWS = 5_000  # 1.3 MB, and 157 runs
LATE_S = 20.0  # an answer that is not there by then hangs
OVERLOADED = "the model is overloaded"
_CHECKED_ROWS = 50


class Clients:
    """Good, bad and greedy ones, of one server.

    Args:
        url: of HTTP, on loopback.
        grpc: address of gRPC.
        tally: written by all of them.
        seed: of every choice.
    """

    def __init__(self, url: str, grpc: str, tally: Tally, seed: int) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=LATE_S, limits=httpx.Limits(max_connections=None))
        self._grpc = triton.InferenceServerClient(grpc)
        self._tally = tally
        self._random = random.Random(seed)

    async def close(self) -> None:
        await self._http.aclose()
        await self._grpc.close()

    async def good(self) -> None:
        """JSON; the answer must be that of the version that it names."""
        row = self._row()
        answer = await self._infer("good", world.SWAPPED, row)
        if self._is_turned_away(answer):
            return
        if answer.status_code != 200:
            self._tally.complain(f"a good request got {answer.status_code}: {answer.text[:200]}")
            return
        told = answer.json()
        self._judge(world.SWAPPED, told["model_version"], row, told["outputs"][0]["data"])

    async def good_call(self) -> None:
        """The same over gRPC."""
        row = self._row()
        self._tally.sent["good call"] += 1
        try:
            told = await self._grpc.infer(world.SWAPPED, [image(triton, ROWS[row : row + 1])], client_timeout=LATE_S)
        except InferenceServerException as error:
            self._hear(error, "a good call")
            return
        self._tally.calls["OK"] += 1
        self._judge(world.SWAPPED, told.get_response().model_version, row, told.as_numpy(OUTPUT))

    async def visit(self) -> None:
        """A good request to the model that comes and goes: its answer, or word that it is away."""
        row = self._row()
        answer = await self._infer("visit", world.VISITOR, row)
        if answer.status_code == 200:
            self._judge(world.VISITOR, "1", row, answer.json()["outputs"][0]["data"])
        elif answer.status_code not in (404, 503):
            self._tally.complain(f"a visit got {answer.status_code}: {answer.text[:200]}")

    async def isolated(self) -> None:
        """A good request to the model whose process is killed: its answer, whatever became of the process."""
        row = self._row()
        answer = await self._infer("isolated", world.ISOLATED, row)
        if answer.status_code == 200:
            self._judge(world.ISOLATED, "1", row, answer.json()["outputs"][0]["data"])
        else:
            self._tally.complain(f"a request to an isolated model got {answer.status_code}: {answer.text[:200]}")

    async def bad(self) -> None:
        """One body of the hostile corpus."""
        name = self._random.choice(sorted(BODIES))
        answer = await self._post("bad", f"/v2/models/{world.SWAPPED}/infer", content=BODIES[name])
        if self._is_turned_away(answer):
            return
        if not 400 <= answer.status_code < 500 or len(answer.content) > ANSWER_LIMIT_BYTES:
            self._tally.complain(f"the body {name!r} got {answer.status_code} and {len(answer.content)} bytes")

    async def greedy(self) -> None:
        """Thousands of rows in one request, in binary: all answered, in order."""
        rows = np.resize(ROWS, (GREEDY_ROWS, *ROWS.shape[1:]))
        asked = triton.InferInput(INPUT, list(rows.shape), "FP32")
        asked.set_data_from_numpy(np.ascontiguousarray(rows))
        self._tally.sent["greedy call"] += 1
        try:
            told = await self._grpc.infer(world.SWAPPED, [asked], client_timeout=LATE_S)
        except InferenceServerException as error:
            self._hear(error, f"{GREEDY_ROWS} rows")
            return
        self._tally.calls["OK"] += 1
        version, logits = told.get_response().model_version, told.as_numpy(OUTPUT)
        wrong = [
            row
            for row in self._random.sample(range(GREEDY_ROWS), _CHECKED_ROWS)
            if not world.is_right(version, row % len(ROWS), logits[row])
        ]
        if wrong or len(logits) != GREEDY_ROWS:
            self._tally.complain(f"of {GREEDY_ROWS} rows {len(logits)} came, and rows {wrong} are wrong")
        else:
            self._tally.right[world.SWAPPED] += 1

    async def too_greedy(self) -> None:
        """More than any body may be."""
        answer = await self._post("too greedy", f"/v2/models/{world.SWAPPED}/infer", content=bytes(65 * 2**20))
        if answer.status_code != 413:
            self._tally.complain(f"65 MiB got {answer.status_code}")

    def _is_turned_away(self, answer: httpx.Response) -> bool:
        """Whether the model said that it has too much to do now, and when to come back."""
        refused = answer.status_code == 503 and OVERLOADED in answer.text and "retry-after" in answer.headers
        self._tally.turned_away += refused
        return refused

    def _hear(self, error: InferenceServerException, who: str) -> None:
        if error.status() == "StatusCode.UNAVAILABLE" and OVERLOADED in str(error):
            self._tally.turned_away += 1
        else:
            self._tally.complain(f"{who} got {error}")

    def _row(self) -> int:
        return self._random.randrange(len(ROWS))

    async def _infer(self, kind: str, model: str, row: int) -> httpx.Response:
        return await self._post(kind, f"/v2/models/{model}/infer", json={"inputs": [tensor(ROWS[row : row + 1])]})

    async def _post(self, kind: str, path: str, **body: object) -> httpx.Response:
        self._tally.sent[kind] += 1
        answer = await self._http.post(path, **body)  # type: ignore[arg-type]
        self._tally.answered(answer.status_code)
        return answer

    def _judge(self, model: str, version: str, row: int, logits: object) -> None:
        if world.is_right(version, row, logits):
            self._tally.right[model] += 1
        else:
            self._tally.complain(f"a wrong answer from version {version} of {model} to row {row}")
