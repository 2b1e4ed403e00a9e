"""Which version answers and which are loaded, by tables."""

import pytest

from service.repository.config_tensors import Latest
from service.repository.state_file import ActiveRecord
from service.serving.policy import Plan, choose_active, reload_plan, resident


def record(active: str, config_active: str | None = None) -> ActiveRecord:
    return ActiveRecord(active=active, previous=None, config_active=config_active, forced=False)


@pytest.mark.parametrize(
    ("versions", "configured", "remembered", "chosen"),
    [
        ([], None, None, None),
        (["1"], None, None, "1"),
        (["1", "2", "10"], None, None, "10"),
        (["1", "1-int8"], None, None, "1"),
        (["a", "b"], None, None, "a"),
        (["1", "2"], "1", None, "1"),
        (["1", "2"], None, record("1"), "1"),
        (["1", "2"], "2", record("1", "2"), "1"),  # a swap wins over `active:` as long as that stays the same
        (["1", "2"], "2", record("1", "1"), "2"),  # `active:` changed since: the operator's newer word
        (["1", "2"], "2", record("1", None), "2"),
        (["1", "2"], None, record("1", "2"), "2"),  # `active:` was taken out: back to the highest
        (["2"], None, record("1"), "2"),  # what was active is gone from disk
        (["1"], "3", None, "3"),  # named, though not on disk: loading it says so
    ],
)
def test_the_active_version(
    versions: list[str], configured: str | None, remembered: ActiveRecord | None, chosen: str | None
) -> None:
    assert choose_active(versions, configured, remembered) == chosen


@pytest.mark.parametrize(
    ("residency", "active", "loaded"),
    [
        ("all", "1", ["1", "1-int8", "2"]),
        ("active", "2", ["2"]),
        ("active", None, []),
        (["1", "2"], "2", ["1", "2"]),
        (["1"], "2", ["1", "2"]),
        (["1", "7"], "1", ["1"]),
        ("active", "9", ["9"]),
    ],
)
def test_the_resident_versions(residency: str | list[str], active: str | None, loaded: list[str]) -> None:
    assert resident(["1", "1-int8", "2"], residency, active) == loaded


@pytest.mark.parametrize(
    ("wanted", "loaded", "plan"),
    [
        ([], [], Plan((), ())),
        (["1"], [], Plan(("1",), ())),
        (["1"], ["1", "2"], Plan(("1",), ("2",))),
        (["2", "3"], ["1"], Plan(("2", "3"), ("1",))),
    ],
)
def test_the_plan_of_a_reload(wanted: list[str], loaded: list[str], plan: Plan) -> None:
    assert reload_plan(wanted, loaded) == plan


@pytest.mark.parametrize(
    ("latest", "active", "loaded"),
    [(1, None, ["10"]), (2, None, ["2", "10"]), (9, None, ["1", "2", "10"]), (1, "1-int8", ["1-int8", "10"])],
)
def test_the_latest_versions_are_those_with_the_highest_numbers(
    latest: int, active: str | None, loaded: list[str]
) -> None:
    assert resident(["1", "1-int8", "2", "10", "beta"], Latest(latest=latest), active) == loaded
