"""The terminal's table: every figure, never half a cell."""

import io
from dataclasses import replace

from rich.console import Console

from loadtests.report.document import document
from loadtests.report.table import against, lines, print_report, said
from tests.unit.loadtests.report.outcomes import ENTRIES, whole

OUTCOME = whole()
DOCUMENT = document(OUTCOME)


def printed(told, width=80):
    stream = io.StringIO()
    print_report(told, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue()


def test_a_narrow_place_cuts_no_cell():
    text = printed(DOCUMENT, width=40)
    assert "…" not in text
    for line in lines(DOCUMENT):
        assert any(line.name in row and all(cell in row for cell in line.cells) for row in text.splitlines()), line


def test_eight_versions_are_one_line_a_figure_still():
    many = tuple(replace(ENTRIES[1], label=f"1-variant-of-a-long-name-{at}") for at in range(8))
    summaries = {one.label: replace(OUTCOME.summaries["1"], version=one.label) for one in many}
    text = printed(document(replace(OUTCOME, entries=many, summaries=summaries, knees={})))
    assert all(one.label in text.splitlines()[1] for one in many)
    assert "…" not in text


def test_what_nobody_knows_has_no_line():
    names = [line.name for line in lines(DOCUMENT)]
    assert "energy a request, J" not in names
    assert "knee, requests/s" in names
    without = document(replace(OUTCOME, knees={}))
    assert "knee, requests/s" not in [line.name for line in lines(without)]


def test_without_an_objective_nothing_is_said_to_be_in_time():
    about_one = {"goodput, requests/s", "in time", "right and in time"}
    names = {line.name for line in lines(DOCUMENT)}
    assert DOCUMENT.objective_p99_ms is not None and names >= about_one
    without = {line.name for line in lines(document(replace(OUTCOME, limit_ms=None)))}
    assert not about_one & without and without == names - about_one | {"right"}


def test_a_version_without_a_whole_round_has_dashes():
    told = document(replace(OUTCOME, summaries={"1": OUTCOME.summaries["1"]}))
    line = next(line for line in lines(told) if line.name == "p50, ms")
    assert line.cells[0] != "-" == line.cells[1]


def test_a_knee_that_was_not_found_and_one_that_the_generator_bounds():
    knees = {
        "1": replace(OUTCOME.knees["1"], rate=None),
        "1-int8": replace(OUTCOME.knees["1-int8"], generator_bound=True),
    }
    line = next(line for line in lines(document(replace(OUTCOME, knees=knees))) if line.name.startswith("knee"))
    assert line.cells == ("none met it", "2000 (the generator could offer no more)")


def test_the_sentences_come_with_the_requirements_and_the_problems():
    told = document(replace(OUTCOME, problems=("The generator came late.",), interrupted=True))
    text = printed(told)
    assert OUTCOME.sentences[0] in text
    assert "met      1-int8: p99 <= 0.8x (seen 0.43 [0.4, 0.47])" in text
    assert "NOT MET  1-int8: errors <= 0.1%" in text
    assert "INVALID: The generator came late." in text
    assert said(told)[0] == OUTCOME.sentences[0]
    assert any(one.startswith("interrupted") for one in said(told))
    assert not any(one.startswith(("INVALID", "interrupted")) for one in said(DOCUMENT))


def told_against(changes):
    (one,) = DOCUMENT.versus
    document = DOCUMENT.model_copy(update={"versus": (one.model_copy(update=changes),)})
    return {line.name: line.cells[0] for line in against(document)}


def test_against_the_full_version_everything_is_told_with_what_it_rests_on():
    cells = told_against({})
    assert cells["p99"].startswith("0.34x [")
    assert cells["knee"] == "2.20x [2.10x, 2.30x]" and cells["rate held"] == "more"
    assert cells["agreement"].startswith("99.67% [98.80%") and cells["rows that it rests on"] == "600"


def test_what_is_not_known_is_not_made_up():
    cells = told_against({"p99": None, "rate": None, "held": "unknown", "agreement": None, "agreement_rows": None})
    assert (cells["p99"], cells["knee"], cells["agreement"]) == ("too few answers", "-", "-")
    assert (cells["rate held"], cells["rows that it rests on"]) == ("unknown", "-")


def test_a_knee_is_told_with_its_interval():
    (knee,) = (line for line in lines(DOCUMENT) if line.name == "knee, requests/s")
    assert knee.cells == ("900 [882, 918]", "2000 [1960, 2040]")
