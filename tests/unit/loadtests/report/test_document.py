"""report.json holds everything that was found, as it was found, in the form that its schema says."""

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from pydantic import ValidationError

from loadtests.disturbances import Mark
from loadtests.measures.resampling import Figure
from loadtests.report.document import document, without_paths
from loadtests.report.files import SCHEMA_FILE, json_text
from loadtests.report.schema import SCHEMA, Document
from tests.unit.loadtests.report.outcomes import BEGAN_S, block, blocks, outcome, whole

OUTCOME = whole()
DOCUMENT = document(OUTCOME)


def plain():
    return json.loads(json_text(DOCUMENT))


def test_what_is_written_is_read_back_the_same():
    assert Document.model_validate_json(json_text(DOCUMENT)) == DOCUMENT
    assert plain()["schema"] == SCHEMA == "retort.compare/1"


def test_the_committed_schema_is_that_of_the_models():
    committed = json.loads((resources.files("loadtests.report") / SCHEMA_FILE).read_text(encoding="utf-8"))
    assert committed == Document.model_json_schema(by_alias=True, mode="serialization")


def test_an_unknown_key_and_another_schema_are_refused():
    with pytest.raises(ValidationError, match="extra"):
        Document.model_validate(plain() | {"more": 1})
    with pytest.raises(ValidationError, match="schema"):
        Document.model_validate(plain() | {"schema": "retort.compare/2"})


def test_every_figure_carries_its_interval():
    first = DOCUMENT.versions[0].summary
    expected = OUTCOME.summaries["1"]
    assert first.latency_ms.keys() == {"50", "90", "99"}
    for percent, figure in expected.latency_ms.items():
        told = first.latency_ms[f"{percent:g}"]
        assert (told.value, (told.low, told.high)) == (figure.value, figure.interval)
    assert first.goodput.low <= first.goodput.value <= first.goodput.high
    assert first.effective_accuracy.value == expected.effective_accuracy.value


def test_knees_hold_every_rate_that_was_tried_and_endless_ones_are_null():
    found = DOCUMENT.versions[1].knee
    assert (found.rate, found.low, found.high, found.settled, len(found.tried)) == (2000.0, 1960.0, 2040.0, True, 8)
    assert found.tried[-1].p99_ms is None
    assert [one.met for one in found.tried] == [one.met for one in OUTCOME.knees["1-int8"].tried]


def test_blocks_hold_raw_percentiles_of_each_round_in_times_order():
    assert [(one.version, one.round) for one in DOCUMENT.blocks[:4]] == [
        ("1", 0),
        ("1-int8", 0),
        ("1", 1),
        ("1-int8", 1),
    ]
    one, seen = DOCUMENT.blocks[3], OUTCOME.blocks[3]
    assert one.latency_ms["99"] == pytest.approx(np.percentile(seen.latency_ms, 99), abs=1e-3)
    assert one.max_ms == pytest.approx(seen.latency_ms.max(), abs=1e-2)
    assert one.at_s == pytest.approx(3 * 2.2)
    assert one.mean_batch == 2.0


def test_a_round_that_was_not_finished_is_kept_and_not_counted():
    seen = [*blocks(3), block("1", 3, service_ms=50.0, at_s=14.0)]
    told = document(outcome(seen))
    assert [one.counted for one in told.blocks] == [True] * 6 + [False]
    assert max(told.distributions[0].latency_ms) < 50
    assert told.versions[0].summary.rounds == 3


def test_marks_and_blocks_are_on_one_clock_that_begins_with_the_first_block():
    told = document(replace(OUTCOME, marks=(Mark(BEGAN_S + 1.5, "swap to 1-int8"),)))
    assert (told.marks[0].at_s, told.marks[0].text) == (1.5, "swap to 1-int8")
    assert told.blocks[0].at_s == 0.0
    assert told.timeline[0].at_s[0] == 0.0


def test_not_a_number_and_endless_are_null():
    nan = replace(OUTCOME.versus[0], p99=Figure(float("nan"), (float("nan"), float("inf"))))
    told = document(replace(OUTCOME, versus=(nan,))).versus[0]
    assert (told.p99.value, told.p99.low, told.p99.high) == (None, None, None)
    json.loads(json_text(document(replace(OUTCOME, versus=(nan,)))), parse_constant=pytest.fail)


def test_problems_make_it_invalid():
    assert (DOCUMENT.valid, DOCUMENT.problems) == (True, ())
    told = document(replace(OUTCOME, problems=("The generator came late.",)))
    assert (told.valid, told.problems) == (False, ("The generator came late.",))


def test_nothing_measured_is_a_report_too():
    empty = replace(OUTCOME, blocks=(), summaries={}, versus=(), sentences=(), knees={}, interrupted=True)
    told = document(empty)
    assert told.interrupted
    assert (told.measured, told.blocks, told.timeline, told.distributions) == ((), (), (), ())
    assert json.loads(json_text(told))["versions"][0]["summary"] is None


def test_no_path_of_the_machine_is_told():
    text = json_text(DOCUMENT)
    assert "/home/somebody" not in text
    assert "/tmp" not in text
    assert "--data rows.npz --out out" in text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--url http://127.0.0.1:8000 --out out", "--url http://127.0.0.1:8000 --out out"),
        ("--data=/srv/a/b.npz", "--data=b.npz"),
        ("/opt/venv/bin/retort compare x", "retort compare x"),
        ("--trace '../traces/t.tbz2'", "--trace 't.tbz2'"),
        ("--data ~/rows.npz", "--data rows.npz"),
        ("--require 'p99 <= 0.8x'", "--require 'p99 <= 0.8x'"),
        ("--versions 1,1-int8 --data rows/a.npz", "--versions 1,1-int8 --data rows/a.npz"),
    ],
)
def test_paths_are_cut_to_their_last_part(command, expected):
    assert without_paths(command) == expected


def test_the_same_outcome_gives_the_same_bytes():
    assert json_text(document(outcome())) == json_text(DOCUMENT)
