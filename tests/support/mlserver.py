"""MLServer with one ONNX file as a process, from an environment of its own: a server to compare ours with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx

from tests.triton.server import free_ports

READY_WITHIN_S = 60.0
RUNTIME = Path(__file__).with_name("mlserver_runtime.py")


class MlServer:
    """One running MLServer; leaves with the `with` block.

    Args:
        venv: holds mlserver and onnxruntime.
        name: of the model.
        onnx: its file.
        tensors: what its metadata says of `inputs` and `outputs`; MLServer says nothing of them by itself.
        folder: for its settings and log.
    """

    def __init__(self, venv: Path, name: str, onnx: Path, tensors: dict[str, object], folder: Path) -> None:
        http, grpc, metrics = free_ports(3)
        self.url, self.grpc = f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        _write(folder / "settings.json", host="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics)
        implementation = f"{RUNTIME.stem}.OnnxModel"
        _write(folder / "model-settings.json", name=name, implementation=implementation, **tensors)
        shutil.copy(RUNTIME, folder)
        self._log = folder / "mlserver.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(venv / "bin" / "mlserver"), "start", str(folder)],
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "ONNX_FILE": str(onnx), "HOME": str(folder)},
            )
        self._wait_ready(name)

    def __enter__(self) -> MlServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_ready(self, name: str) -> None:
        end_s = time.monotonic() + READY_WITHIN_S
        while self._process.poll() is None and time.monotonic() < end_s:
            try:
                if httpx.get(f"{self.url}/v2/models/{name}/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self._process.kill()
        self._process.wait()
        raise RuntimeError(f"MLServer does not get ready:\n{self._log.read_text(errors='replace')[-4000:]}")


def _write(file: Path, **values: object) -> None:
    defaults = {"parallel_workers": 0, "debug": False} if file.name == "settings.json" else {}
    file.write_text(json.dumps(defaults | values))
