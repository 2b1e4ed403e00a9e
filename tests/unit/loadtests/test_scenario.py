"""Scenarios: all that come along load; each mistake is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import arrivals
from loadtests.scenario import BadScenario, Scenario, names, read_scenario

WANTED = {"steady", "ramp", "burst", "trace", "swap", "mixed", "slow-clients", "overload"}


def test_the_promised_scenarios_come_along() -> None:
    assert set(names()) >= WANTED


@pytest.mark.parametrize("name", names())
def test_every_scenario_loads_and_says_what_it_is(name: str) -> None:
    scenario = read_scenario(name)
    assert scenario.summary.endswith(".")
    if scenario.shape != "trace":
        assert arrivals.duration_s(scenario.profile(100)) == pytest.approx(scenario.block_s)


def test_ones_own_file_is_a_scenario_without_any_other_change(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("summary: Mine.\nshape: steps\nsteps: [1, 3]\nblock_s: 4\n")
    scenario = read_scenario(str(file))
    assert [s.rate for s in scenario.profile(10)] == [10, 30]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("summary: A.\nspeed: 3\n", "at speed: unknown key"),
        ("shape: steady\n", "at summary: Field required"),
        ("summary: A.\nshape: round\n", "at shape: "),
        ("summary: A.\nblock_s: 0\n", "at block_s: "),
        ("summary: A.\nburst: {share: 1.5}\n", "at burst.share: "),
        ("summary: A.\nslow_clients: {count: 100000}\n", "at slow_clients.count: "),
        ("summary: A.\nblock_s: .inf\n", "at block_s: "),
        ("summary: A.\nblock_s: .nan\n", "at block_s: "),
        ("summary: A.\nsteps: []\n", "at steps: "),
        ("summary: A.\nsteps: [.inf]\n", "at steps.0: "),
        ("summary: A.\ntimes_rate: .inf\n", "at times_rate: "),
        ("summary: [\n", "is no YAML"),
        ("- a list\n", "at the file: "),
        ("", "at the file: "),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(BadScenario, match=r"bad\.yaml") as told:
        read_scenario(str(file))
    assert said in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_is_no_text_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadScenario, match=r"bad\.yaml cannot be read: "):
        read_scenario(str(tmp_path / "bad.yaml"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadScenario, match=r"no scenario 'storm'; known are burst, .*swap"):
        read_scenario("storm")


def test_a_trace_that_is_not_named_is_asked_for() -> None:
    with pytest.raises(BadScenario, match="--trace"):
        Scenario(summary="A.", shape="trace").profile(10)
