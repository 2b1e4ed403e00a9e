"""The page is one file that needs no other, opens in a browser without a word of complaint, and says what was found."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pictures are drawn by matplotlib")
pytest.importorskip("jinja2", reason="the page is a jinja2 template")

from loadtests.report.document import document
from loadtests.report.files import read, write
from loadtests.report.page import MOST_LISTED, happened, page
from loadtests.report.pictures import pictures
from tests.unit.loadtests.report.outcomes import block, blocks, outcome, swapped, whole

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
VOID = {"meta", "link", "br", "img", "hr", "path", "use", "input"}


class Reading(HTMLParser):
    """Links, scripts, and whether every tag that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "deep" / "out"
    seen = blocks(8)
    seen[5] = block("1-int8", 2, service_ms=0.8, at_s=11.0, stall_s=(0.8, 0.5))
    write(outcome(seen), place)
    return place


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def without_pictures(told):
    return page(told, ())


def test_files_are_those_that_are_told(folder):
    names = {file.name for file in folder.iterdir()}
    assert {"report.json", "report.html", "timeline.png", "distribution.png", "latency-against-rate.png"} <= names


def test_the_page_can_be_drawn_again_from_the_json(folder, html, tmp_path):
    write(read(folder / "report.json"), tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html
    assert (tmp_path / "report.json").read_bytes() == (folder / "report.json").read_bytes()


def test_it_needs_nothing_else(html):
    found = Reading(html)
    assert found.open == []
    assert "script" not in found.tags
    assert found.tags.count("svg") == 6
    assert all(link.startswith("#") or link == "data:," for link in found.links)
    assert not re.search(r"url\((?!#)|@import", html)


def test_ids_are_unique_on_the_page(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_it_says_what_the_figures_say(html):
    for text in (
        "1-int8 carries the same traffic",
        "99.67% [98.80%, 99.96%]",  # the agreement, and the rows that it rests on
        "<td>600</td>",
        "accuracy: 0.9917.",  # why the gate said what it did
        "2000 [1960, 2040]",
        "no miss bounds the search by itself",
        "p99 &lt;= 0.8x",
        "not met",
        "right and in time",
        "Lag is",
        "endless",
    ):
        assert text in html
    assert "stall: 1-int8 answered nothing for" in html


def test_what_users_name_is_escaped():
    evil = replace(whole(), model="<script>alert(1)</script>", problems=("<img src=x onerror=alert(1)>",))
    text = without_pictures(document(evil))
    assert "script" not in Reading(text).tags
    assert "img" not in Reading(text).tags


def test_an_invalid_or_interrupted_run_says_so_on_top():
    told = document(replace(whole(), problems=("The generator came late.",), interrupted=True))
    text = without_pictures(told)
    assert text.index("This run is invalid:") < text.index("<h2>")
    assert text.index("was interrupted") < text.index("<h2>")
    assert "The run is invalid" in text


def test_nothing_measured_is_a_page_too():
    empty = replace(whole(), blocks=(), summaries={}, versus=(), sentences=(), knees={}, asked=(), notes=())
    text = without_pictures(document(empty))
    assert "No version was held against another one." in text
    assert "<h2>Requirements</h2>" not in text


def test_marks_are_listed_by_their_numbers_and_not_by_the_hundred():
    told = document(swapped())
    assert happened(told)[0] == "1: swap to 1-int8, at 0.70 s"
    many = told.model_copy(update={"marks": told.marks * 5})
    text = without_pictures(many)
    assert f"{len(many.marks) - MOST_LISTED} more, in report.json" in text


def complaints(file: Path, profile: Path) -> list[str]:
    """What the browser's console holds once the page is there."""
    run = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--enable-logging=stderr", f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert "</html>" in run.stdout
    return [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@BROWSER
def test_it_opens_in_a_browser_without_a_complaint(folder, tmp_path):
    assert complaints(folder / "report.html", tmp_path) == []


@BROWSER
def test_a_page_with_a_fault_is_complained_of(folder, html, tmp_path):
    broken = folder / "broken.html"
    broken.write_text(
        html.replace("</body>", "<script>missing()</script><img src='none.png'></body>"), encoding="utf-8"
    )
    found = complaints(broken, tmp_path)
    assert any("missing is not defined" in line for line in found)


def test_pictures_of_the_page_are_those_of_the_files(folder):
    names = {file.stem for file in folder.glob("*.png")}
    assert names == {one.name for one in pictures(read(folder / "report.json"))}
