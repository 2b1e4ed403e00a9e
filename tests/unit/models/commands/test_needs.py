"""Without the workshop's packages its commands say what to install, in one sentence; with them they go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from models.commands import needs

ROOT = Path(__file__).resolve().parents[4]
# Finds none of the workshop's packages, as in an environment that `make serve` made.
BARE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"onnx", "onnx_ir", "onnxscript", "torch", "torch_pruning", "sympy", "PIL",
                                      "matplotlib", "jinja2", "sklearn", "psutil", "scipy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
import importlib.util
real = importlib.util.find_spec
def find_spec(name, package=None):
    try:
        return real(name, package)
    except ModuleNotFoundError:
        return None
importlib.util.find_spec = find_spec
from service.cli.command_line import main
sys.argv[0] = "retort"
main()
"""


def bare(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BARE, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (("compress", "--list"), "onnx"),
        (("compress", "net.onnx", "--recipe", "int4", "--publish", "models/net"), "onnx"),
        (("compress", "models/net", "--remeasure", "--test", "test.npz"), "onnx"),
        (("report", "models/repository/digits"), "PIL"),
        (("train", "digits", "--publish", "models/digits"), "torch"),
    ],
)
def test_without_the_packages_one_sentence_says_what_to_install(words: tuple[str, ...], package: str) -> None:
    done = bare(*words)
    assert (done.returncode, done.stdout) == (needs.CANNOT, "")
    assert done.stderr.startswith(f"retort: {words[0]} needs ")
    assert package in done.stderr
    assert done.stderr.endswith(
        "run `make workshop`, or install retort's extra 'workshop' and requirements/torch.txt.\n"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("compare", "digits", "--versions", "1,1-int8", "--rate", "9"), ("tune", "digits")])
def test_so_do_the_commands_of_the_load_tests(words: tuple[str, ...]) -> None:
    done = bare(*words)
    assert (done.returncode, done.stdout) == (needs.CANNOT, "")
    assert done.stderr == (
        f"retort: {words[0]} needs jinja2, matplotlib, psutil, scipy: run `make workshop`, or install retort's extra "
        "'loadtest'.\n"
    )


def test_the_scenarios_are_listed_without_them() -> None:
    assert bare("compare", "--list").returncode == 0


def test_without_the_packages_help_is_whole() -> None:
    done = bare("--help")
    assert done.returncode == 0
    assert all(f"  {command} " in done.stdout for command in ("compress", "train", "report", "serve"))


def test_what_is_there_is_no_reason_to_end() -> None:
    needs.refuse_without("compress", ("numpy", "typer"))


def test_negative_control_what_is_not_there_is_named_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        needs.refuse_without("compress", ("numpy", "no_such_package"))
    assert ended.value.exit_code == needs.CANNOT
    assert "compress needs no_such_package:" in capsys.readouterr().err
