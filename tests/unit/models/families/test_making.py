"""Making a family: each version published with a true card, what is there left alone, what fails told and survived."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from models.evaluate.ledger import Ledger
from models.families import figures, making, registry
from models.families.family import Family
from models.families.making import Outcome, UnknownVersion, carry_out
from models.families.order import Order
from models.progress import Lines
from service.repository.layout import Repository
from tests.unit.models.families import small

QUIET = Lines(Console(quiet=True))


def order(folder: Path, **changes: object) -> Order:
    return replace(
        Order("small", folder / "models" / "small", folder / "work", folder / "ledger.jsonl", runs=5), **changes
    )


def made(monkeypatch: pytest.MonkeyPatch, family: Family, asked: Order) -> tuple[Outcome, ...]:
    monkeypatch.setattr(registry, "families", lambda _: (family,))
    return carry_out(asked, QUIET, lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> tuple[Outcome, ...]:
    with pytest.MonkeyPatch.context() as patch:
        return made(patch, small.family(small.INT8, small.REFUSED, small.COPIED), order(folder))


def test_each_version_has_its_outcome_in_order(outcomes: tuple[Outcome, ...]) -> None:
    assert [one.version for one in outcomes] == ["1", "1-int8", "1-refused", "1-copy"]
    assert [one.card is None for one in outcomes] == [False, False, True, False]
    assert not any(one.published_before for one in outcomes)


def test_one_that_cannot_be_made_holds_up_no_other_and_says_why(outcomes: tuple[Outcome, ...]) -> None:
    assert outcomes[2].notes == ("nothing could be cut.",)


def test_a_bit_identical_copy_is_judged_and_not_passed(outcomes: tuple[Outcome, ...]) -> None:
    assert outcomes[3].card is not None
    assert outcomes[3].card.verdict == "fail"


def test_what_is_published_is_what_the_gateway_reads(folder: Path, outcomes: tuple[Outcome, ...]) -> None:
    repository = Repository(folder / "models")
    assert repository.versions("small") == ["1", "1-copy", "1-int8"]
    assert repository.read_config("small").max_batch_size == 8
    for outcome in outcomes:
        if outcome.card is not None:
            assert repository.read_version("small", outcome.version).card == outcome.card


def test_cards_tell_the_family(outcomes: tuple[Outcome, ...]) -> None:
    full, variant = outcomes[0].card, outcomes[1].card
    assert full is not None
    assert variant is not None
    assert (full.variant_of, variant.variant_of) == (None, "1")
    assert variant.not_verified[0] == "Anything."
    assert variant.data is not None
    assert {name: split.n for name, split in variant.data.splits.items()} == small.ROWS
    assert variant.data.overlaps_removed == 3


def test_every_choice_is_in_the_ledger(folder: Path, outcomes: tuple[Outcome, ...]) -> None:
    assert [entry.recipe for entry in Ledger(folder / "ledger.jsonl").entries()] == ["small", "int8-static", "copy"]


def test_a_second_run_leaves_everything_as_it_is_and_makes_what_was_missing(
    folder: Path, outcomes: tuple[Outcome, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (folder / "models").rglob("*") if path.is_file()}
    monkeypatch.setattr(small, "full", small.spoiled)
    again = made(monkeypatch, small.family(small.INT8, small.COPIED), order(folder))
    assert [(one.version, one.published_before) for one in again] == [("1", True), ("1-int8", True), ("1-copy", True)]
    assert {path: path.read_bytes() for path in (folder / "models").rglob("*") if path.is_file()} == before


def test_an_interruption_between_two_versions_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(outcome: Outcome) -> None:
        if outcome.version == "1":
            raise KeyboardInterrupt

    monkeypatch.setattr(registry, "families", lambda _: (small.family(small.INT8),))
    with pytest.raises(KeyboardInterrupt):
        carry_out(order(tmp_path), QUIET, interrupt)
    assert Repository(tmp_path / "models").versions("small") == ["1"]
    outcomes = carry_out(order(tmp_path), QUIET, lambda _: None)
    assert [one.published_before for one in outcomes] == [True, False]


def test_only_what_is_asked_for_is_made_and_the_full_version_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = made(monkeypatch, small.family(small.SPOILED, small.INT8), order(tmp_path, only=("1-int8",)))
    assert [one.version for one in outcomes] == ["1", "1-int8"]


def test_a_mistyped_version_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownVersion, match="'1-int9' is no version of it; there are 1, 1-int8"):
        made(monkeypatch, small.family(small.INT8), order(tmp_path, only=("1-int9",)))
    assert list(tmp_path.iterdir()) == []


def test_a_version_of_another_making_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "models" / "small" / "1"
    there.mkdir(parents=True)
    (there / "model.onnx").write_bytes(small.convolutional())
    with pytest.raises(ValueError, match="of another making: it has no card"):
        made(monkeypatch, small.family(), order(tmp_path))


def test_the_test_set_is_not_among_what_a_maker_is_given(tmp_path: Path) -> None:
    bench = making.open_bench(order(tmp_path), small.load(None, tmp_path), QUIET)
    assert set(bench.parts) == {"training", "development", "calibration"}


def test_an_order_survives_json(tmp_path: Path) -> None:
    asked = order(tmp_path, only=("1", "2"), data=tmp_path, quick=True, processes=2)
    assert Order.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert Order.from_json(json.loads(json.dumps(order(tmp_path).to_json()))) == order(tmp_path)


def test_figures_are_those_of_the_cards(outcomes: tuple[Outcome, ...]) -> None:
    card = outcomes[1].card
    assert card is not None
    assert card.size is not None
    one = figures.figures(card)
    assert (one.version, one.verdict, one.test_rows) == ("1-int8", card.verdict, 200)
    assert one.times_smaller == round((card.size.parent_file_bytes or 0) / card.size.file_bytes, 2)
    document = json.loads(figures.to_json("small", outcomes, "retort train small"))
    assert [version["version"] for version in document["versions"]] == ["1", "1-int8", "1-copy"]
    assert document["not_made"] == {"1-refused": ["nothing could be cut."]}
    assert document["command"] == "retort train small"


def test_the_table_has_a_line_for_each_version(outcomes: tuple[Outcome, ...]) -> None:
    table = figures.to_markdown("small", outcomes, "retort train small").splitlines()
    assert table[0] == "# small"
    lines = [line.split(" | ")[0] for line in table if line.startswith("| 1")]
    assert lines == ["| 1", "| 1-int8", "| 1-refused", "| 1-copy"]
    assert all(len(row) == len(figures.COLUMNS) for row in figures.rows(outcomes))


def test_a_coded_version_is_as_small_as_what_is_published(outcomes: tuple[Outcome, ...]) -> None:
    card = outcomes[1].card
    assert card is not None
    assert card.size is not None
    coded = card.model_copy(update={"size": card.size.model_copy(update={"coded_bytes": 100})})
    assert figures.figures(coded).published_bytes == 100
    assert figures.figures(coded).times_smaller == round((card.size.parent_file_bytes or 0) / 100, 2)
