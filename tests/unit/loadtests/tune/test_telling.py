from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.measures.resampling import Figure
from loadtests.tune.found import Found
from loadtests.tune.objective import objective_for
from loadtests.tune.order import Order
from loadtests.tune.pruning import Weighed
from loadtests.tune.settings import PRESENT, Settings
from loadtests.tune.telling import as_document, table, verdict

NOW = Settings(max_batch_size=32, max_queue_delay_microseconds=0, instances=1)
EIGHT, ONE = Settings(max_batch_size=8), Settings(max_batch_size=1)
ORDER = Order(Path("models/digits"), "1", "throughput", 10.0, None, 60.0)


def found(ratio: Figure | None, *, best: Settings = EIGHT, complete: bool = True) -> Found:
    objective = objective_for("throughput", carried=100, rate=None, limit_ms=10, block_s=1.0)
    tried = {ONE: (0.5, 2), EIGHT: (1.3, 6)}
    return Found(NOW, objective, best, ratio, 8 if ratio else 0, tried, {Settings(threads=9): "no"}, complete)


def test_a_run_whose_generator_was_late_proves_nothing() -> None:
    seen = found(Figure(1.3, (1.1, 1.5)))
    assert seen.valid
    seen.lag_p99_ms = 5.1
    assert verdict(seen) == (
        "this run is invalid and proves nothing: the generator came 5.1 ms late at p99, and at most 5 ms are allowed"
    )
    assert as_document(seen, ORDER)["valid"] is False


@pytest.mark.parametrize(
    ("seen", "words", "better"),
    [
        (
            found(Figure(1.3, (1.1, 1.5))),
            "max_batch_size 8: the rate that is carried in time is 1.30x [1.10, 1.50]",
            True,
        ),
        (found(Figure(1.3, (0.9, 1.5))), "keep the present configuration: no better one was shown", False),
        (found(Figure(1.3)), "keep the present configuration", False),
        (found(None, best=PRESENT), "keep the present configuration: nothing better was seen among 2 others", False),
        (found(None, complete=False), "keep the present configuration: the search did not come to its end", False),
    ],
)
def test_the_sentence_says_what_to_change_and_by_how_much(seen: Found, words: str, better: bool) -> None:
    assert verdict(seen).startswith(words)
    assert seen.better is better


def test_the_table_has_the_best_first_and_what_failed_last() -> None:
    lines = table(found(None)).splitlines()
    assert "present: max_batch_size 32" in lines[1] and lines[1].rstrip().endswith("1.00x")
    assert [line.split("  ")[0] for line in lines[2:]] == ["max_batch_size 8", "max_batch_size 1", "threads 9"]


def test_what_a_change_back_cost_is_told() -> None:
    seen = found(Figure(1.3, (1.1, 1.5)))
    seen.weighed = [
        Weighed("threads", EIGHT, Figure(1.01, (0.9, 1.1))),
        Weighed("max_batch_size", Settings(threads=2), Figure(0.5, (0.4, 0.6))),
    ]
    assert table(seen).splitlines()[-2:] == [
        "threads put back beside max_batch_size 8: 1.01x [0.90, 1.10], no loss",
        "max_batch_size put back beside threads 2: 0.50x [0.40, 0.60], it matters",
    ]
    document = json.loads(json.dumps(as_document(seen, ORDER)))
    assert [(one["put_back"], one["matters"]) for one in document["weighed"]] == [
        ("threads", False),
        ("max_batch_size", True),
    ]


def test_the_document_is_plain_json() -> None:
    document = json.loads(json.dumps(as_document(found(Figure(1.3, (1.1, 1.5))), ORDER)))
    assert document["schema"] == "retort.tune/1"
    assert (document["best"], document["better"], document["interval"]) == ({"max_batch_size": 8}, True, [1.1, 1.5])
    assert document["tried"][0] == {"settings": {"max_batch_size": 1}, "ratio": 0.5, "rounds": 2}
    assert as_document(found(None), ORDER)["interval"] is None


def test_settings_without_time_are_told() -> None:
    hurried = found(None, best=PRESENT)
    hurried.left_out, hurried.tried = 7, {}
    assert verdict(hurried) == ("keep the present configuration: no other was tried, and there was no time for 7")
