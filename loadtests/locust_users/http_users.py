"""Users that ask over HTTP, in JSON or with binary tensors."""

from __future__ import annotations

import itertools
import random

from locust import FastHttpUser, tag, task

from loadtests.generator.block import OK, Answer
from loadtests.locust_users.hooks import material_of, wait
from loadtests.pools import Encoding

TIMEOUT_S = 10.0
_JSON_LENGTH = "Inference-Header-Content-Length"


class InferenceUser(FastHttpUser):
    """Asks for one row after the other, each user from another one on."""

    abstract = True
    encoding: Encoding
    network_timeout = connection_timeout = TIMEOUT_S
    wait_time = wait

    def on_start(self) -> None:
        """Takes what was made ready."""
        material = material_of(self)
        self._path = material.path
        self._requests = material.http_requests(self.encoding)
        self._judge = material.judge("http")
        self._name = f"{self.encoding} {material.name}"
        self._rows = itertools.count(random.randrange(len(self._requests)))  # noqa: S311

    def ask(self) -> None:
        """One request; its answer is a failure unless it is right."""
        row = next(self._rows) % len(self._requests)
        request = self._requests[row]
        with self.client.post(
            self._path, data=request.body, headers=dict(request.headers), name=self._name, catch_response=True
        ) as response:
            if response.status_code == 0:
                response.failure(f"no answer: {type(response.error).__name__}")
            elif response.status_code != OK:
                response.failure(f"status {response.status_code}: {(response.text or '')[:200]}")
            elif fault := self._judge.fault_in(
                Answer(response.content or b"", int(response.headers.get(_JSON_LENGTH) or 0)), row
            ):
                response.failure(fault)


class JsonUser(InferenceUser):
    """Sends and takes JSON."""

    encoding = "json"

    @tag("json", "http")
    @task
    def infer(self) -> None:
        """One request."""
        self.ask()


class BinaryUser(InferenceUser):
    """Sends and takes tensors as bytes behind a short JSON head."""

    encoding = "binary"

    @tag("binary", "http")
    @task
    def infer(self) -> None:
        """One request."""
        self.ask()
