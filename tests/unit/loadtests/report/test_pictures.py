"""Every picture is drawn when there is something to draw, the same each time, and says what the figures say."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib", reason="pictures are drawn by matplotlib")

from loadtests.disturbances import Mark
from loadtests.report.document import document
from loadtests.report.drawing import looks
from loadtests.report.picture_timeline import timeline_picture
from loadtests.report.pictures import pictures
from tests.unit.loadtests.report.outcomes import BEGAN_S, block, blocks, outcome, swapped, whole

OUTCOME = whole()
DRAWN = {one.name: one for one in pictures(document(OUTCOME))}
ALL = ["ratios", "latency-against-rate", "distribution", "quality", "timeline", "rounds"]


@pytest.fixture(scope="module")
def svgs():
    return {name: one.svg() for name, one in DRAWN.items()}


def words(svg):
    return " ".join(text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip())


def test_a_whole_run_has_all_pictures():
    assert list(DRAWN) == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_picture_is_whole_text_stays_text_and_nothing_is_fetched(svgs, name):
    svg = svgs[name]
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "<text" in svg
    assert not re.search(r'href="(?!#)', svg)
    assert "<dc:date>" not in svg


def test_no_id_of_one_picture_is_that_of_another(svgs):
    ids = [found for svg in svgs.values() for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))


def test_every_reference_within_a_picture_is_met(svgs):
    for svg in svgs.values():
        wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert wanted and wanted <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_the_same_figures_give_the_same_bytes(svgs):
    again = {one.name: one for one in pictures(document(outcome()))}
    for name in ("ratios", "rounds"):
        assert again[name].svg() == svgs[name]
    assert again["ratios"].png() == DRAWN["ratios"].png()


def test_a_png_is_one():
    assert DRAWN["ratios"].png().startswith(b"\x89PNG\r\n\x1a\n")


def test_axes_say_what_they_show_and_versions_are_named(svgs):
    assert "planned rate, requests a second" in words(svgs["latency-against-rate"])
    assert "objective 10 ms" in words(svgs["latency-against-rate"])
    assert "answers that took longer" in words(svgs["distribution"])
    assert "accuracy by the card" in words(svgs["quality"])
    assert "1-int8, 197.1 kiB" in words(svgs["quality"])
    for name in ("latency-against-rate", "distribution", "quality", "timeline", "rounds", "ratios"):
        assert "1-int8" in words(svgs[name])


def test_ticks_are_plain_numbers(svgs):
    for name in ("latency-against-rate", "distribution", "timeline"):
        assert not re.search(r"10\^|\\times|mathdefault|e[+-]\d\d", words(svgs[name]))
    assert "0.1 %" in words(svgs["distribution"])


def test_without_knees_cards_or_rounds_those_pictures_are_left_out():
    bare = tuple(replace(one, card=replace(one.card, accuracy=None)) for one in OUTCOME.entries)
    unlabelled = [replace(one, labels=None) for one in blocks(1)]
    told = document(replace(outcome(unlabelled), knees={}, entries=bare, versus=(), sentences=()))
    assert [one.name for one in pictures(told)] == ["distribution", "timeline"]


def test_where_cards_are_silent_quality_is_what_was_right_and_in_time():
    bare = tuple(replace(one, card=replace(one.card, accuracy=None)) for one in OUTCOME.entries)
    told = {one.name: one for one in pictures(document(replace(OUTCOME, entries=bare)))}
    assert "right and in time" in words(told["quality"].svg())


def test_nothing_measured_has_no_picture():
    empty = replace(OUTCOME, blocks=(), summaries={}, versus=(), sentences=(), knees={})
    assert pictures(document(empty)) == ()


def test_nothing_answered_is_drawn_without_fault():
    silent = [block("1", n, service_ms=1.0, unanswered=600, at_s=n * 3.0) for n in range(2)]
    told = document(replace(OUTCOME, blocks=tuple(silent), summaries={}, versus=(), sentences=(), knees={}))
    assert [one.name for one in pictures(told)] == []


def test_marks_are_numbered_and_a_stall_is_shown():
    seen = [block("1", 0, service_ms=0.8, stall_s=(0.8, 0.5))]
    told = document(replace(OUTCOME, blocks=tuple(seen), marks=(Mark(BEGAN_S + 0.8, "swap to 1-int8"),)))
    text = words(timeline_picture(told, looks(["1", "1-int8"])).svg())
    assert "stall" in text
    calm = document(replace(OUTCOME, blocks=(block("1", 0, service_ms=0.8),), marks=()))
    picture = timeline_picture(calm, looks(["1"]))
    assert "stall" not in words(picture.svg())
    assert "Dotted" not in picture.caption


def test_answers_under_swaps_are_in_the_colours_of_who_gave_them():
    told = document(swapped())
    assert {one.version for one in told.timeline} == {"1", "1-int8"}
    (timeline,) = (one for one in pictures(told) if one.name == "timeline")
    svg = timeline.svg()
    shown = looks(["swapped", "1", "1-int8"])
    assert shown["1"].colour in svg
    assert shown["1-int8"].colour in svg


def test_many_versions_keep_looks_apart():
    shown = looks([str(at) for at in range(7)])
    assert len({one.colour for one in shown.values()}) == len({one.marker for one in shown.values()}) == 7
    assert looks(["a", "b", "a"]).keys() == {"a", "b"}
