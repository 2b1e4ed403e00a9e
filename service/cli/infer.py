"""`retort infer`: sends a file to a model and prints what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import Client, model_path, parsed
from service.cli.failure import Failure
from service.cli.options import DEFAULT_URL, Ca, Key, Model, Url

if TYPE_CHECKING:
    from service.core.contract import Arrays

HELP = """Send a file to a model and print what it answers.

\b
FILE is one of
  .npz   one array for each input, under its name, rows on axis 0; or a version's golden.npz
  .json  {"inputs": [...]} of the Open Inference Protocol, or {"instances": [...]} of TensorFlow Serving

\b
Examples:
  retort infer digits rows.npz
  retort infer digits rows.json --version 1-int8

Prints the version that answered and each output: name, datatype, shape, values.

\b
Exit codes:
  0  answered
  1  the server refused, or does not answer; the file cannot be read
  2  a mistyped option
"""

JSON = {"Content-Type": "application/json"}
GOLDEN = "input/"


def infer(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, show_default=False)],
    version: Annotated[str | None, typer.Option(help="Ask this version, not the active one.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """See `HELP`."""
    if file.suffix == ".npz":
        _ask_npz(Client(url, key, ca), model, version, file)
    elif file.suffix == ".json":
        _ask_json(Client(url, key, ca), model, version, file)
    else:
        raise Failure(f"{file} is neither .npz nor .json.")


def _ask_npz(client: Client, model: str, version: str | None, file: Path) -> None:
    from service.cli.tensors import encode_request  # noqa: PLC0415 - numpy

    body, headers = encode_request(_arrays(file))
    _ask(client, model, version, body, headers)


def _ask_json(client: Client, model: str, version: str | None, file: Path) -> None:
    body = file.read_bytes()
    try:
        form = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{file} is not JSON: {error}.") from None
    if isinstance(form, dict) and isinstance(form.get("inputs"), list):
        _ask(client, model, version, body, JSON)
        return
    answer = client.post_bytes(model_path("/v1", model, version) + ":predict", body, JSON)
    typer.echo(json.dumps(parsed(answer), indent=2))


def _ask(client: Client, model: str, version: str | None, body: bytes, headers: dict[str, str]) -> None:
    from service.cli.tensors import HEADER, decode_answer  # noqa: PLC0415 - numpy

    answer = client.post_bytes(model_path("/v2", model, version) + "/infer", body, headers)
    head, outputs = decode_answer(answer.content, answer.headers.get(HEADER))
    _print_outputs(head, outputs)


def _arrays(file: Path) -> Arrays:
    from zipfile import BadZipFile  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415 - a quarter of a second that `retort --help` need not pay

    try:
        with file.open("rb") as opened:
            arrays = np.load(opened, allow_pickle=False)
            if not isinstance(arrays, np.ndarray):
                return _inputs(dict(arrays))
    except (OSError, ValueError, EOFError, BadZipFile):  # numpy's words lead to what must not be done: allow_pickle
        expected = "expected a file of numpy.savez that holds no Python objects"
        raise Failure(f"{file} cannot be read as arrays: {expected}.") from None
    raise Failure(f"{file} holds one array without a name; it must hold one under each input's name.")


def _inputs(arrays: Arrays) -> Arrays:
    """The arrays to send: all of them, or the recorded inputs of a golden.npz."""
    recorded = {name.removeprefix(GOLDEN): array for name, array in arrays.items() if name.startswith(GOLDEN)}
    return recorded or arrays


def _print_outputs(head: dict[str, Any], outputs: Arrays) -> None:
    import numpy as np  # noqa: PLC0415

    datatypes = {output["name"]: output["datatype"] for output in head["outputs"]}
    version = head.get("model_version")  # the protocol lets a server leave it out
    typer.echo(f"{head.get('model_name', '')}{f' version {version}' if version else ''}")
    for name, array in outputs.items():
        typer.echo(f"{name} {datatypes[name]} {list(array.shape)}")
        typer.echo(np.array2string(array, precision=6, suppress_small=True, max_line_width=120))
