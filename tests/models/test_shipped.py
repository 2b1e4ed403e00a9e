"""Every card that is shipped tells the truth: it is measured again here, from the files that are committed.

Needs neither torch nor scikit-learn. Timings and resident memory are of one moment on one machine and are checked for
consistency only. On a class of CPU that the card does not name, a stated few rows may differ; the report says so.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models.data import digits
from models.data.samples import Samples, read_arrays
from models.evaluate import measure
from models.evaluate.ledger import Ledger, arguments_sha256
from models.evaluate.remeasure import Fresh, Version, differences, remeasure
from service.core.cpu import cpu_class
from service.core.errors import BadModel
from service.repository.card import read_card
from service.repository.layout import Repository

ROOT = Path(models.__file__).parent
REPOSITORY = ROOT / "repository"
SHIPPED = [(path.parent.parent.name, path.parent.name) for path in sorted(REPOSITORY.glob("*/*/card.json"))]
BENCH = measure.Bench(cpu_class())
# Numbers that a second measurement cannot confirm, by the end of their path.
PER_CPU_CLASS = {"quality", "golden", "batching"}
OF_ONE_MOMENT = ("resident_bytes", "load_ms", "first_run_ms", "runs", "threads", "overlaps_removed")

Altered = tuple[str, Any]


@cache
def version(model: str, name: str) -> Version:
    folder = REPOSITORY / model / name
    card = read_card((folder / "card.json").read_bytes())
    return Version(card, {file: (folder / file).read_bytes() for file in card.files})


def full_of(model: str, name: str) -> Version | None:
    parent = version(model, name).card.variant_of
    return version(model, parent) if parent else None


@cache
def parts(model: str) -> dict[str, Samples]:
    return {"digits": digits.parts}[model]()


@cache
def fresh(model: str, name: str) -> Fresh:
    return remeasure(version(model, name), parts(model), BENCH, full_of(model, name))


def found_in(card_json: bytes, model: str, name: str) -> list[str]:
    full = full_of(model, name)
    try:
        return differences(read_card(card_json), fresh(model, name), full.card if full else None)
    except BadModel as refusal:
        return [str(refusal)]


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all numbers in a JSON document."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def altered(document: Any, path: tuple[Any, ...]) -> bytes:
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += 1 if isinstance(place[path[-1]], int) else 0.05 if place[path[-1]] <= 0.9 else -0.05
    return json.dumps(changed).encode()


def test_digits_is_shipped_whole() -> None:
    variants = ("deep", "distilled", "fp16", "int4", "int8", "pruned")
    assert [("digits", "1"), *(("digits", f"1-{kind}") for kind in variants)] == SHIPPED


def test_the_verdicts_are_those_that_the_readme_tells() -> None:
    verdicts = {name: version(model, name).card.verdict for model, name in SHIPPED}
    assert verdicts == {
        "1": None,
        "1-deep": "pass",
        "1-distilled": "fail",
        "1-fp16": "pass",
        "1-int4": "pass",
        "1-int8": "pass",
        "1-pruned": "insufficient-data",
    }


def test_what_is_loaded_at_start_may_answer() -> None:
    residents = Repository(REPOSITORY).read_config("digits").versions
    assert isinstance(residents, list | tuple)
    assert [version("digits", name).card.verdict for name in residents] == [None, "pass"]


def test_the_coded_version_is_a_thirtieth_of_the_full_one_on_disk() -> None:
    size = version("digits", "1-deep").card.size
    assert size is not None
    assert size.coded_bytes == len(version("digits", "1-deep").files["model.deep"])
    assert (size.parent_file_bytes or 0) > 30 * size.coded_bytes


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_a_shipped_card_is_what_is_measured(model: str, name: str, record_property: pytest.RecordProperty) -> None:
    card = version(model, name).card
    measured_here = card.quality_on(BENCH.provider, BENCH.cpu_class) is not None
    record_property("compared", "exactly" if measured_here else f"within a few rows, on {BENCH.cpu_class}")
    assert found_in(card.to_json(), model, name) == []


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_negative_control_a_card_with_one_number_altered_is_found_out(model: str, name: str) -> None:
    document = json.loads(version(model, name).card.to_json())
    unchecked = {"recipe", "speed"}
    if version(model, name).card.quality_on(BENCH.provider, BENCH.cpu_class) is None:
        unchecked |= PER_CPU_CLASS  # compared within a few rows there, with a control of their own below
    checked = [path for path in numbers(document) if path[0] not in unchecked]
    checked = [path for path in checked if path[-1] not in OF_ONE_MOMENT]
    assert len(checked) > (10 if unchecked >= PER_CPU_CLASS else 40)
    missed = [path for path in checked if not found_in(altered(document, path), model, name)]
    assert missed == []


def test_negative_control_of_speed_percentiles_out_of_order_and_made_up_throughput() -> None:
    document = json.loads(version("digits", "1-int8").card.to_json())
    for path, value in ((("own", "p50_ms"), 99.0), (("own", "rows_per_s"), 1e9), (("full", "p99_ms"), 0.0)):
        changed = copy.deepcopy(document)
        changed["speed"][0][path[0]][path[1]] = value
        assert found_in(json.dumps(changed).encode(), "digits", "1-int8")
    changed = copy.deepcopy(document)
    changed["speed"][0]["speedup"] = 50.0
    assert found_in(json.dumps(changed).encode(), "digits", "1-int8") == [
        "speed at 1 rows: speedup outside its interval"
    ]


@pytest.mark.parametrize(("key", "value"), [("gain_kind", "memory"), ("reasons", ["accuracy: fine"]), ("reasons", [])])
def test_negative_control_of_the_gates_words(key: str, value: Any) -> None:
    if version("digits", "1-int8").card.quality_on(BENCH.provider, BENCH.cpu_class) is None:
        pytest.skip(f"no card was measured on {BENCH.cpu_class}")
    document = json.loads(version("digits", "1-int8").card.to_json()) | {key: value}
    assert any(line.startswith(key) for line in found_in(json.dumps(document).encode(), "digits", "1-int8"))


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_on_another_class_of_cpu_a_few_rows_may_differ_and_not_more(model: str, name: str) -> None:
    elsewhere = measure.Bench("another-cpu")
    full = full_of(model, name)
    again = remeasure(version(model, name), parts(model), elsewhere, full)
    card = version(model, name).card
    assert differences(card, again, full.card if full else None) == []
    document = json.loads(card.to_json())
    document["quality"][0]["accuracy"] -= 0.02
    told = differences(read_card(json.dumps(document).encode()), again, full.card if full else None)
    assert told
    assert told[0].startswith("quality, accuracy")


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_the_store_takes_it(model: str, name: str) -> None:
    files = Repository(REPOSITORY).read_version(model, name)
    assert files.card == version(model, name).card
    assert files.golden is not None


def test_a_model_folder_holds_versions_and_its_configuration_only() -> None:
    for model in {model for model, _ in SHIPPED}:
        versions = {name for owner, name in SHIPPED if owner == model}
        assert {path.name for path in (REPOSITORY / model).iterdir()} == versions | {"model.yaml"}
        for name in versions:
            listed = set(version(model, name).card.files) | {"card.json"}
            assert {path.name for path in (REPOSITORY / model / name).iterdir()} == listed


def test_golden_rows_tell_the_versions_apart() -> None:
    full, variant = version("digits", "1"), version("digits", "1-int8")
    cases = [read_arrays(one.files["golden.npz"]) for one in (full, variant)]
    assert np.array_equal(cases[0]["input/image"], cases[1]["input/image"])
    rows = cases[0]["input/image"]
    assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) == len(rows) >= 32
    difference = np.abs(cases[0]["output/logits"] - cases[1]["output/logits"]).max(axis=1)
    tolerances = [one.card.golden.tolerances[0].max_abs for one in (full, variant) if one.card.golden]
    assert difference.min() > 2 * sum(tolerances)


def test_golden_rows_come_from_the_development_set() -> None:
    image = read_arrays(version("digits", "1").files["golden.npz"])["input/image"]
    known = {row.tobytes() for row in digits.part("development").inputs["image"]}
    assert all(row.tobytes() in known for row in image)


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_the_ledger_holds_the_choice_that_the_card_shows(model: str, name: str) -> None:
    card = version(model, name).card
    assert card.recipe is not None
    assert card.data is not None
    entries = [e for e in Ledger(ROOT / "data" / "ledger.jsonl").entries() if e.recipe == card.recipe.name]
    (entry,) = [e for e in entries if e.test_sha256 == card.data.splits["test"].sha256]
    assert entry.arguments_sha256 == arguments_sha256(card.recipe)
    assert entry.chosen_on_sha256 == card.data.splits["development"].sha256


def test_the_ledger_names_the_same_rows_only_for_the_same_rows_and_choice() -> None:
    """The images were (n, 8, 8) when they decided first; the axis of the channel made no new test set of them."""
    entries = Ledger(ROOT / "data" / "ledger.jsonl").entries()
    test = digits.part("test")
    bare = Samples({digits.INPUT: test.inputs[digits.INPUT][:, 0]}, test.labels)
    earlier = [entry for entry in entries if entry.test_sha256 == bare.sha256()]
    assert len(earlier) == 2
    repeated = [entry for entry in entries if entry.same_rows_as]
    assert [entry.recipe for entry in repeated] == [entry.recipe for entry in earlier]
    for first, again in zip(earlier, repeated, strict=True):
        assert (again.test_sha256, again.same_rows_as) == (test.sha256(), bare.sha256())
        assert (first.test_sha256, first.arguments_sha256) == (bare.sha256(), again.arguments_sha256)


def test_digits_takes_one_channel_of_pixels() -> None:
    for model, name in SHIPPED:
        onnx = Repository(REPOSITORY).read_version(model, name).onnx
        runner = measure.load(onnx, BENCH, digits.part("test").take([0]).inputs)
        shapes = [
            (spec.name, spec.datatype, spec.shape[1:]) for spec in (*runner.runner.inputs, *runner.runner.outputs)
        ]
        runner.runner.close()
        assert shapes == [("image", "FP32", (1, 8, 8)), ("logits", "FP32", (10,))]


def test_digits_is_as_good_as_it_is_said_to_be() -> None:
    full, variant = version("digits", "1").card, version("digits", "1-int8").card
    assert full.quality[0].accuracy >= 0.975
    assert variant.verdict == "pass"
    assert variant.batching is not None
    assert variant.batching.mode == "any"
    assert variant.size is not None
    assert variant.size.file_bytes <= 0.9 * (variant.size.parent_file_bytes or 0)


def test_all_this_needs_neither_torch_nor_scikit_learn() -> None:
    check = (
        "import sys, models.evaluate.remeasure, models.data.digits, models.publish, models.cards\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT.parent, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
