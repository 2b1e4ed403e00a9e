"""The locustfile's own options, on the command line and in Locust's web page."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GRPC_PORT = 8001


def add_options(parser: ArgumentParser) -> None:
    """Adds them to Locust's parser, whose own `--version` tells Locust's."""
    parser.add_argument("--model", default="digits", help="The model's name.")
    parser.add_argument("--model-version", default="", help="The version that must answer; without, the active one.")
    parser.add_argument(
        "--data",
        default="",
        metavar="FILE.npz",
        help="One array an input, or a version's golden.npz, whose answers are then the right ones; "
        "without, the test set of digits, or made-up rows.",
    )
    parser.add_argument("--grpc-host", default="", metavar="HOST:PORT", help="For GrpcUser; without, port 8001.")
    parser.add_argument("--key", default="", env_var="RETORT_KEY", is_secret=True, help="Sent as a bearer token.")  # type: ignore[call-arg]
    parser.add_argument(
        "--rate-per-user", type=float, default=10.0, metavar="R", help="Requests a second of one user at most; 0: all."
    )


def grpc_host_of(options: Any, host: str) -> str:
    """Where gRPC is: as asked, else the usual port beside the HTTP server."""
    return options.grpc_host or f"{urlsplit(host).hostname or '127.0.0.1'}:{GRPC_PORT}"


def data_of(options: Any) -> Path | None:
    """The file of rows that was asked for."""
    return Path(options.data) if options.data else None
