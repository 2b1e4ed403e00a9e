"""The ledger: one selection for each recipe and test set; measuring again confirms it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from models.evaluate.ledger import AlreadyChosen, BadLedger, Entry, Ledger, arguments_sha256
from service.repository.card import Recipe, Step

DEV, TEST, OTHER = "d" * 64, "a" * 64, "b" * 64


def recipe(name: str = "int8-static", seed: int | None = 0, calibrator: str = "MinMax") -> Recipe:
    return Recipe(name=name, seed=seed, steps=(Step(technique="int8_static", arguments={"calibrator": calibrator}),))


def test_a_new_ledger_is_empty_and_need_not_exist(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none.jsonl").entries() == ()


def test_a_selection_is_on_disk_at_once(tmp_path: Path) -> None:
    Ledger(tmp_path / "l").select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    (entry,) = Ledger(tmp_path / "l").entries()
    assert (entry.recipe, entry.test_sha256, entry.chosen_on_sha256) == ("int8-static", TEST, DEV)
    assert entry.arguments_sha256 == arguments_sha256(recipe())


def test_the_same_choice_again_confirms_and_adds_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    for _ in range(3):
        ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize("other", [recipe(calibrator="Entropy"), recipe(seed=1), recipe(seed=None)])
def test_another_choice_after_the_test_set_has_spoken_is_refused(tmp_path: Path, other: Recipe) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    with pytest.raises(AlreadyChosen, match="already chosen with other arguments"):
        ledger.select(other, chosen_on_sha256=DEV, test_sha256=TEST)
    assert len(ledger.entries()) == 1


def test_the_same_rows_in_another_form_repeat_the_choice_and_bind_as_it_did(tmp_path: Path) -> None:
    path = tmp_path / "l"
    again = Entry("int8-static", OTHER, DEV, arguments_sha256(recipe()), same_rows_as=TEST)
    path.write_text(json.dumps(asdict(again)) + "\n")
    ledger = Ledger(path)
    ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=OTHER)
    assert ledger.entries() == (again,)
    with pytest.raises(AlreadyChosen):
        ledger.select(recipe(seed=1), chosen_on_sha256=DEV, test_sha256=OTHER)


def test_another_test_set_or_another_recipe_may_choose(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    ledger.select(recipe(calibrator="Entropy"), chosen_on_sha256=DEV, test_sha256=OTHER)
    ledger.select(recipe(name="int8-entropy", calibrator="Entropy"), chosen_on_sha256=DEV, test_sha256=TEST)
    assert [entry.recipe for entry in ledger.entries()] == ["int8-static", "int8-static", "int8-entropy"]


def test_the_name_is_no_part_of_the_arguments() -> None:
    assert arguments_sha256(recipe(name="a")) == arguments_sha256(recipe(name="b"))
    assert arguments_sha256(recipe()) != arguments_sha256(recipe(seed=7))


def test_of_many_that_choose_at_once_one_decides(tmp_path: Path) -> None:
    def choose(seed: int) -> bool:
        try:
            Ledger(tmp_path / "l").select(recipe(seed=seed), chosen_on_sha256=DEV, test_sha256=TEST)
        except AlreadyChosen:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(choose, range(16))) == 1
    assert len(Ledger(tmp_path / "l").entries()) == 1


@pytest.mark.parametrize("line", ['{"recipe": "int8', '{"recipe": "r"}', "[]", "\0"])
def test_a_damaged_line_is_named_and_nothing_is_chosen_over_it(tmp_path: Path, line: str) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    before = (tmp_path / "l").read_text() + line
    (tmp_path / "l").write_text(before)
    with pytest.raises(BadLedger, match="l, line 2, is no entry of a ledger"):
        ledger.entries()
    with pytest.raises(BadLedger):
        ledger.select(recipe(name="other"), chosen_on_sha256=DEV, test_sha256=TEST)
    assert (tmp_path / "l").read_text() == before


def test_a_disk_that_refuses_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as faulty:
        faulty.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            ledger.select(recipe(name="other"), chosen_on_sha256=DEV, test_sha256=TEST)
    assert [entry.recipe for entry in ledger.entries()] == ["int8-static"]
    ledger.select(recipe(name="other"), chosen_on_sha256=DEV, test_sha256=TEST)
    assert [entry.recipe for entry in ledger.entries()] == ["int8-static", "other"]


def test_a_file_that_is_no_text_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadLedger, match="line 1, is no entry of a ledger"):
        Ledger(tmp_path / "l").select(recipe(), chosen_on_sha256=DEV, test_sha256=TEST)
    assert (tmp_path / "l").read_bytes() == b"\xff\xfe\x00"
