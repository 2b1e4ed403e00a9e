"""`retort serve`: the server, in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.failure import Failure
from service.cli.launch import launch
from service.cli.server_settings import read_settings, refuse_model_folder

HELP = """Serve repositories of models, or one ONNX file.

A repository is a folder: REPOSITORY/MODEL/VERSION/model.onnx, or model.deep, its coded form, in its place. A single
file, MODEL.onnx or MODEL.deep, needs none: it becomes version 1 of a model with the file's name. It runs until SIGTERM
or SIGINT (Ctrl-C).

\b
Examples:
  retort serve
  retort serve --repository /srv/models --host 0.0.0.0
  retort serve resnet20.onnx --http-port 0

Prints one line with the address when it is ready; logs go to standard error. Each option is also a variable, such as
RETORT_HTTP_PORT; an option wins. More settings, for limits and timeouts, are variables only: see the README.

\b
Exit codes:
  0  ended by SIGTERM or SIGINT
  1  could not start, or gave up after repeated crashes
  2  a mistyped option
"""


def serve(  # noqa: PLR0913, PLR0917 - one parameter an option
    model_file: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL.onnx", exists=True, help="Serve this one file."),
    ] = None,
    repository: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="A folder of models; may be given again."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on [127.0.0.1].")] = None,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one [8000].")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=-1, max=65535, help="0: a free one; -1: no gRPC [8001].")] = None,
    provider: Annotated[
        Literal["auto", "cpu", "cuda", "tensorrt"] | None, typer.Option(help="What runs the models [auto].")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Remembers the active versions [~/.local/state/retort]."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of one instance of a model [all cores].")] = None,
    shared_memory: Annotated[
        bool | None,
        typer.Option("--shared-memory", help="Clients on this machine may pass tensors in shared memory [off]."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may do what, see `retort key`; read again when it changes [none]."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The chain of certificates, PEM [plain connections].")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The private key to it, PEM.")] = None,
    log_format: Annotated[Literal["json", "console"] | None, typer.Option(help="Of the log lines [json].")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option(help="The least that is logged [info].")
    ] = None,
) -> None:
    """See `HELP`."""
    if model_file and repository:
        raise typer.BadParameter("give MODEL.onnx or --repository, not both")
    if model_file and model_file.is_dir():
        raise typer.BadParameter(f"{model_file} is a folder: serve a folder of models with --repository {model_file}")
    if model_file and not _is_model_file(model_file):
        raise typer.BadParameter(f"{model_file} is no model: the name of one ends in .onnx or .deep")
    raise typer.Exit(
        _run(
            {
                "repository": (model_file,) if model_file else tuple(repository or ()) or None,
                "host": host,
                "http_port": http_port,
                "grpc_port": grpc_port,
                "provider": provider,
                "state_dir": state_dir,
                "threads": threads,
                "shared_memory": shared_memory,
                "keys": keys,
                "tls_cert": tls_cert,
                "tls_key": tls_key,
                "log_format": log_format,
                "log_level": log_level,
            }
        )
    )


def _is_model_file(path: Path) -> bool:
    from service.settings import is_model_file  # noqa: PLC0415 - pydantic

    return is_model_file(path)


def _run(given: Mapping[str, object]) -> int:
    settings = read_settings(given)
    file = settings.single_file
    if file and not file.is_file():
        raise Failure(f"there is no file {file}: name one as MODEL.onnx, or a folder with --repository.")
    for folder in () if file else settings.repository:
        if not folder.is_dir():
            raise Failure(f"there is no folder {folder}: name one with --repository, or serve one file: MODEL.onnx.")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise Failure(f"the folder {folder} cannot be read: this user may not list it.")
        refuse_model_folder(folder)
    return launch(settings, typer.echo)
