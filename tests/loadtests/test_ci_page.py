"""The workflow of docs/howto/compare-ci.md runs: its steps in their order, in a shell each, as a runner does it.

Short, by the variables that it sets; on another port, because 8000 may be taken here. What is fetched, an action of the
runner's or a package, is only looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "compare-ci.md").read_text()
SHORT = {"RATE": "60", "DURATION_S": "3"}
ATTEMPTS = 3
ADDRESS = "127.0.0.1:8000"
needs_a_runner = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 or not shutil.which("curl") or not shutil.which("taskset"),
    reason="the workflow asks for two cores, curl and taskset",
)


def job() -> dict[str, Any]:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = yaml.safe_load(text)["jobs"].values()
    return dict(found)


def named(name: str) -> str:
    return str(next(step["run"] for step in job()["steps"] if step.get("name") == name))


@dataclass
class Runner:
    """A folder with a checkout's models, and a shell for each step; ends what the steps left behind."""

    folder: Path
    environment: dict[str, str]
    port: int
    groups: list[int]

    def run(self, script: str) -> int:
        """Exit code of one step, in the shell that a runner uses."""
        with (self.folder / "step.log").open("ab") as log:
            step = subprocess.Popen(
                ["bash", "-e", "-c", script.replace(ADDRESS, f"127.0.0.1:{self.port}")],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.groups.append(step.pid)
        return step.wait(timeout=100)

    def said(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("step.log", "server.log"))

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "report" / "report.json").read_text()))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "models" / "repository", folder / "models" / "repository")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "COVERAGE_"))}
    settings = {"RETORT_HTTP_PORT": str(port), "RETORT_GRPC_PORT": "0", "RETORT_URL": f"http://127.0.0.1:{port}"}
    settings |= {"RETORT_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
    found = Runner(folder, kept | settings | path | {k: str(v) for k, v in job()["env"].items()} | SHORT, port, [])
    try:
        yield found
    finally:
        for group in found.groups:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue


@pytest.fixture(scope="module")
def compared(runner: Runner) -> int:
    """Exit code of the comparison, after all steps before it."""
    assert runner.run(named("Start the server")) == 0, runner.said()
    return runner.run(named("Compare"))


@needs_a_runner
def test_the_server_starts_and_the_comparison_leaves_what_is_uploaded(runner: Runner, compared: int) -> None:
    report = runner.report()
    assert [one["label"] for one in report["versions"]] == ["1", "1-int8"], runner.said()
    assert report["traffic"]["rate"] == float(SHORT["RATE"])
    upload = next(step["with"]["path"] for step in job()["steps"] if "upload-artifact" in step.get("uses", ""))
    for left in upload.split():
        assert (runner.folder / left).exists(), left


@needs_a_runner
def test_the_exit_code_is_what_the_page_says_of_it(runner: Runner, compared: int) -> None:
    report = runner.report()
    met = {one["text"]: one["met"] for one in report["requirements"]}
    assert compared == (4 if not report["valid"] else 0 if all(met.values()) else 5), runner.said()
    assert len(met) == 3 and met["errors <= 0.1%"]  # what the others ask for is not shown in a few seconds


@pytest.mark.slow  # a second comparison
@needs_a_runner
def test_a_requirement_that_is_not_met_fails_the_step(runner: Runner, compared: int) -> None:
    """Negative control: the gate closes."""
    script = named("Compare").replace("p99 <= 1.2x", "p99 <= 0.01x")
    # 4 says that the generator was late on this machine, which is no word on the requirement: measured again.
    code = next((code for code in (runner.run(script) for _ in range(ATTEMPTS)) if code != 4), 4)
    assert code == 5 and runner.report()["valid"], runner.said()
    assert {one["text"]: one["met"] for one in runner.report()["requirements"]}["p99 <= 0.01x"] is False


def test_what_is_installed_is_an_extra_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (installed,) = [step["run"] for step in job()["steps"] if step.get("run", "").startswith("pip install")]
    assert re.fullmatch(r'pip install "\.\[(\w+)\]"', installed).group(1) in project["optional-dependencies"]  # type: ignore[union-attr]
    python = next(step["with"]["python-version"] for step in job()["steps"] if "setup-python" in step.get("uses", ""))
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]


def test_every_step_is_run_or_looked_at_here() -> None:
    assert [step.get("name") or step.get("uses") or step["run"] for step in job()["steps"]] == [
        "actions/checkout@v4",
        "actions/setup-python@v5",
        'pip install ".[loadtest]"',
        "Start the server",
        "Compare",
        "actions/upload-artifact@v4",
    ]
