"""Says in one sentence what a command of the workshop lacks, where only the service is installed."""

from __future__ import annotations

from importlib.util import find_spec

import typer

CANNOT = 1
FILES = ("onnx", "onnx_ir", "sympy")
PAGES = ("onnx", "PIL", "matplotlib", "jinja2")
TRAINING = (*FILES, "torch", "torch_pruning", "onnxscript")


def refuse_without(command: str, packages: tuple[str, ...]) -> None:
    """Ends the command with exit code 1 where a package is not installed; nothing is imported to find that out."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        typer.echo(
            f"retort: {command} needs {', '.join(missing)}: run `make workshop`, or install retort's extra 'workshop' "
            "and requirements/torch.txt.",
            err=True,
        )
        raise typer.Exit(CANNOT)
