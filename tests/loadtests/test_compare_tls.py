"""`retort compare` against a real server with a certificate of a private authority, and keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.data.digits import part
from tests.support.certificates import Pair, make_pair
from tests.support.keys import KEYS, write_keys
from tests.support.process import ServerProcess

ROOT = Path(__file__).parents[2]
MAIN = "import sys\nfrom loadtests.commands.compare import app\napp(sys.argv[1:], prog_name='retort')"
INVALID = 4  # the machine's cores were busy: nothing is said of times, and the answers are held all the same


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("secure")
    options = ["--repository", str(ROOT / "models" / "repository"), *pair.options]
    with ServerProcess([*options, "--keys", str(write_keys(folder / "keys"))], folder, ca=pair.chain) as running:
        yield running


def compare(server: ServerProcess, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    test = part("test")
    np.savez(folder / "rows.npz", labels=test.labels[:16], **{name: rows[:16] for name, rows in test.inputs.items()})
    quick = ["--rate", "40", "--duration", "2", "--data", str(folder / "rows.npz"), "--out", str(folder / "report")]
    asked = ["digits", "--versions", "1", "--url", f"https://localhost:{server.port}", "--key", KEYS["app"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "COVERAGE_"))}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *asked, *quick, *more],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("how", ["binary", "grpc", "slow-clients"])
def test_every_request_is_answered_over_tls(secure: ServerProcess, pair: Pair, tmp_path: Path, how: str) -> None:
    port = secure.grpc.rsplit(":", 1)[1]
    slow = "slow_clients: {count: 50, byte_every_s: 0.5}\n" if how == "slow-clients" else ""
    (tmp_path / "quick.yaml").write_text(f"summary: Short blocks.\nblock_s: 0.3\n{slow}")
    over_grpc = ["--encoding", "grpc", "--grpc-url", f"localhost:{port}"] if how == "grpc" else []
    more = ["--scenario", str(tmp_path / "quick.yaml"), *over_grpc]
    done = compare(secure, tmp_path, "--ca", str(pair.chain), *more)
    assert done.returncode in (0, INVALID), done.stderr
    [version] = json.loads((tmp_path / "report" / "report.json").read_text())["versions"]
    assert version["summary"]["requests"] >= 40 and not version["summary"]["errors"]


def test_an_authority_that_is_not_named_is_not_trusted(secure: ServerProcess, tmp_path: Path) -> None:
    done = compare(secure, tmp_path)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr and done.stderr.endswith("named with --ca.\n")


def test_a_file_that_holds_no_certificate_is_refused_in_a_sentence(secure: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    done = compare(secure, tmp_path, "--ca", str(tmp_path / "ca"))
    assert (done.returncode, done.stderr.lstrip()) == (
        1,
        f"retort: {tmp_path / 'ca'} holds no certificates in PEM form.\n",
    )
