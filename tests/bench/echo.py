"""A bare uvicorn with nothing behind it, `python -m tests.bench.echo`: what a Python server costs that does nothing."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

ANSWER = (
    b'{"model_name":"tiny","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,10],"data":[0]}]}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole request, and answers the same to everyone."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


def main() -> None:
    """Serves on a free port, and says which."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"ready: http://127.0.0.1:{listening.getsockname()[1]}", flush=True)  # noqa: T201
    config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
