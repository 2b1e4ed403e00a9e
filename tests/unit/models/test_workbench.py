"""The workbench: what was finished is not done again, and what it followed from decides whether it is the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from models.progress import Lines
from models.workbench import Workbench


@pytest.fixture
def quiet() -> Lines:
    return Lines(Console(quiet=True))


def never() -> bytes:
    pytest.fail("made again")


def test_a_finished_stage_is_read_back_also_by_another_run(tmp_path: Path, quiet: Lines) -> None:
    assert Workbench(tmp_path, quiet).stage("full", {"seed": 1}, lambda: b"made") == b"made"
    assert Workbench(tmp_path, quiet).stage("full", {"seed": 1}, never) == b"made"


@pytest.mark.parametrize(
    ("name", "depends_on", "context"),
    [
        ("full", {"seed": 2}, {"data": "a"}),
        ("full", {"seed": 1, "epochs": 3}, {"data": "a"}),
        ("other", {"seed": 1}, {"data": "a"}),
        ("full", {"seed": 1}, {"data": "b"}),
    ],
)
def test_a_stage_of_something_else_is_made(
    tmp_path: Path, quiet: Lines, name: str, depends_on: dict[str, int], context: dict[str, str]
) -> None:
    Workbench(tmp_path, quiet, {"data": "a"}).stage("full", {"seed": 1}, lambda: b"first")
    assert Workbench(tmp_path, quiet, context).stage(name, depends_on, lambda: b"second") == b"second"


def test_the_order_of_what_it_depends_on_does_not_matter(tmp_path: Path, quiet: Lines) -> None:
    bench = Workbench(tmp_path, quiet)
    bench.stage("full", {"a": 1, "b": 2}, lambda: b"made")
    assert bench.stage("full", {"b": 2, "a": 1}, never) == b"made"


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
def test_what_was_broken_off_leaves_nothing(tmp_path: Path, quiet: Lines, end: type[BaseException]) -> None:
    bench = Workbench(tmp_path, quiet)

    def broken() -> bytes:
        raise end

    with pytest.raises(end):
        bench.stage("full", {}, broken)
    assert list(tmp_path.iterdir()) == []
    assert bench.stage("full", {}, lambda: b"made") == b"made"


def test_half_a_file_is_never_taken_for_a_stage(tmp_path: Path, quiet: Lines) -> None:
    bench = Workbench(tmp_path, quiet)
    bench.stage("full", {}, lambda: b"whole")
    (kept,) = tmp_path.iterdir()
    kept.rename(kept.with_suffix(".tmp"))  # as a kill between writing and renaming leaves it
    assert bench.stage("full", {}, lambda: b"anew") == b"anew"


def test_checkpoints_are_told_apart_as_stages_are(tmp_path: Path, quiet: Lines) -> None:
    bench = Workbench(tmp_path, quiet)
    paths: list[Callable[[], Path]] = [
        lambda: bench.checkpoint("full", {"seed": 1}),
        lambda: bench.checkpoint("full", {"seed": 2}),
        lambda: bench.checkpoint("other", {"seed": 1}),
    ]
    assert len({path() for path in paths}) == 3
    assert paths[0]() == paths[0]()
    assert paths[0]().parent == tmp_path


def test_the_folder_is_made(tmp_path: Path, quiet: Lines) -> None:
    Workbench(tmp_path / "a" / "b", quiet)
    assert (tmp_path / "a" / "b").is_dir()
