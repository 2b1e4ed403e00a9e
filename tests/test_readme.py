"""The README runs: its commands, in their order, against a real server on the shipped models, with its outputs.

A `sh` or `python` block is run; a `text` or `json` block that follows one is its expected output, where `...` stands
for anything. A block after a comment `<!-- not run: why -->` is only read; an output after one that says
`as measured on CLASS` is compared on that class of CPU only.
"""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli.serve import serve
from service.core.cpu import cpu_class
from service.repository.model_config import DynamicBatching, ModelConfig, read_model_config
from service.settings import Settings
from tests.support.process import ServerProcess

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SHIPPED = ROOT / "models" / "repository"
ADDRESS = "127.0.0.1:8000"
GRPC_ADDRESS = "127.0.0.1:8001"
FENCE = re.compile(r"(?P<comment><!-- .*? -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    comment: str
    language: str
    text: str
    line: int


def blocks() -> list[Block]:
    return [
        Block(found["comment"] or "", found["language"], found["text"], README.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(README)
    ]


def examples() -> Iterator[tuple[Block, str | None]]:
    """Each block that is to be run, with the output that has to follow it here."""
    found = blocks()
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language in ("sh", "python") and "not run" not in block.comment:
            yield block, after.text if after and is_output_here(after) else None


def is_output_here(block: Block) -> bool:
    measured = re.search(r"as measured on (\w+)", block.comment)
    return block.language in ("text", "json") and (measured is None or measured[1] == cpu_class())


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The README's addresses, and where a server on the shipped models listens, started as `make serve` does."""
    with ServerProcess(["--repository", str(SHIPPED)], tmp_path_factory.mktemp("readme")) as server:
        yield {ADDRESS: server.url.removeprefix("http://"), GRPC_ADDRESS: server.grpc}


def environment(**more: str) -> dict[str, str]:
    """The variables of a user who has retort on the path and no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("RETORT_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "120"} | more


def replaced(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(rf"{re.escape(word)}\b" for word in words), lambda found: words[found[0]], text)


def run(block: Block, addresses: dict[str, str]) -> str:
    shell = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*shell, replaced(block.text, addresses)],
        cwd=ROOT,
        env=environment(RETORT_URL=f"http://{addresses[ADDRESS]}"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"README line {block.line}: {done.stdout}{done.stderr}"
    return replaced(done.stdout, {real: written for written, real in addresses.items()})


def same(expected: str, got: str) -> bool:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", got.strip() + "\n", options)


def test_every_example_does_what_it_says(addresses: dict[str, str]) -> None:
    ran = 0
    for block, expected in examples():
        got = run(block, addresses)
        assert expected is None or same(expected, got), f"README line {block.line} gave:\n{got}"
        ran += 1
    assert ran >= 10


def test_one_file_is_served_under_its_name(tmp_path: Path) -> None:
    with ServerProcess([str(SHIPPED / "digits" / "1" / "model.onnx")], tmp_path) as server:
        assert server.http.get("/v2/models/model/versions/1/ready").status_code == 200
        assert server.terminate() == 0


def test_each_address_is_replaced_by_its_own_and_no_longer_one_is() -> None:
    words = {ADDRESS: "127.0.0.1:8001", GRPC_ADDRESS: "127.0.0.1:9"}
    assert replaced(f"{ADDRESS}/v2 {GRPC_ADDRESS} {ADDRESS}1", words) == f"127.0.0.1:8001/v2 127.0.0.1:9 {ADDRESS}1"


@pytest.mark.parametrize(("expected", "got"), [("a 1 b", "a 2 b"), ("a", ""), ("a ... c", "a b d")])
def test_an_output_that_differs_would_be_noticed(expected: str, got: str) -> None:
    assert not same(expected, got)


def test_a_block_that_is_not_run_says_why() -> None:
    for block in blocks():
        if "not run" in block.comment:
            assert re.fullmatch(r"<!-- not run: .{5,} -->\n", block.comment), block.line


def test_the_example_of_model_yaml_is_one() -> None:
    found = [block for block in blocks() if block.language == "yaml"]
    assert found
    for block in found:
        read_model_config(block.text.encode(), "README.md")


def test_every_setting_is_in_the_table_and_nothing_else_is() -> None:
    listed = re.findall(r"^\| `RETORT_(\w+)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_every_option_of_the_table_is_one_of_serve() -> None:
    listed = re.findall(r"^\| `RETORT_\w+` \| `--([\w-]+)` \|", README, re.MULTILINE)
    options = set(inspect.signature(serve).parameters) - {"model_file"}
    assert sorted(listed) == sorted(name.replace("_", "-") for name in options)


def test_every_key_of_model_yaml_has_its_line() -> None:
    page = (ROOT / "docs" / "howto" / "model-yaml.md").read_text()
    keys = {key for key in ModelConfig.model_fields if key != "dynamic_batching"}
    keys |= {f"dynamic_batching.{key}" for key in DynamicBatching.model_fields}
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == sorted(keys)


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_is_left_half_merged(page: Path) -> None:
    assert not re.findall(r"^(?:<{7}|={7}|>{7})(?: |$)", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_into_a_page_finds_its_heading(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text()):
        assert anchor in anchors((page.parent / link if link else page).read_text()), f"{link}#{anchor}"


def test_an_anchor_is_made_as_the_pages_host_makes_it() -> None:
    assert anchors("# Keys, quotas and `TLS`\n## A [link](x.md)\n```sh\n# no heading\n```\n") == [
        "keys-quotas-and-tls",
        "a-link",
    ]


def anchors(page: str) -> list[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    words = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return [re.sub(r"[^\w -]", "", heading).strip().replace(" ", "-") for heading in words]
