from __future__ import annotations

from typing import Any

import pytest

from service.batching.padding import Pads
from service.core.contract import TensorSpec
from service.gateway import describe
from service.repository.card import Recipe
from service.repository.card_measures import Speed, Timing
from service.repository.card_tasks import RegressionQuality
from service.serving.batchability import single
from service.serving.gate import Machine
from service.serving.padding import Padding
from service.serving.reports import VersionView
from tests.unit.gateway.fake_catalog import FakeServable
from tests.unit.serving.cards import card

HERE = Machine("cpu", "avx512_vnni")
ELSEWHERE = Machine("cuda", "avx512_vnni")


def view(version: str = "1", state: str = "READY", **more: Any) -> VersionView:
    return VersionView("m", version, state, **{"reason": "", "active": version == "1", "card": None, **more})


def test_metadata_has_minus_one_for_every_variable_dimension() -> None:
    servable: Any = FakeServable(inputs=(TensorSpec("x", "FP32", ("batch", None, 3, "width")),))
    described = describe.metadata(servable, [view("1"), view("2", "LOADING"), view("1-int8")])
    assert described == {
        "name": "m",
        "versions": ["1", "1-int8"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1, 3, -1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        "batching": {"mode": "any", "max_batch_size": 32},
    }


def test_a_version_that_is_never_mixed_says_why() -> None:
    servable: Any = FakeServable()
    servable.batchability = single("its rows depend on one another")
    assert describe.metadata(servable, [])["batching"] == {
        "mode": "single-request-only",
        "max_batch_size": 0,
        "reason": "its rows depend on one another",
    }


def test_padding_is_told_where_it_was_asked_for() -> None:
    servable: Any = FakeServable()
    servable.padding = Padding(Pads(2, {"x": 0}, {}, 0.5))
    assert describe.metadata(servable, [])["batching"] == {"mode": "any", "max_batch_size": 32, "padding": "axis 2"}
    servable.padding = Padding(None, "it has no mask")
    told = describe.metadata(servable, [])["batching"]
    assert (told["padding"], told["reason"]) == ("none", "it has no mask")


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("READY", "READY"),
        ("LOADING", "LOADING"),
        ("DRAINING", "UNLOADING"),
        ("NOT_LOADED", "UNAVAILABLE"),
        ("CLOSED", "UNAVAILABLE"),
        ("FAILED", "UNAVAILABLE"),
    ],
)
def test_the_index_speaks_triton_s_words(state: str, word: str) -> None:
    entries = describe.index_entries("m", [view("1", state, reason="because")], "")
    assert entries == [{"name": "m", "version": "1", "state": word, "reason": "because"}]


def test_a_model_without_versions_is_in_the_index_with_its_reason() -> None:
    entries = describe.index_entries("m", [], "its model.yaml is broken")
    assert entries == [{"name": "m", "version": "", "state": "UNAVAILABLE", "reason": "its model.yaml is broken"}]


def test_a_summary_without_a_card_knows_only_the_state() -> None:
    summary = describe.summary(view("1", "FAILED", reason="truncated", disk_bytes=5, load_s=0.5), HERE)
    known = {key: value for key, value in summary.items() if value is not None}
    assert known == {
        "model": "m",
        "version": "1",
        "state": "FAILED",
        "reason": "truncated",
        "active": True,
        "unverified_here": False,
        "load_s": 0.5,
        "bytes": 5,
        "warnings": [],
    }
    assert {"variant_of", "recipe", "verdict", "accuracy", "agreement", "quality", "latency"} <= summary.keys()


def test_a_summary_of_another_task_has_no_accuracy() -> None:
    entry = RegressionQuality(
        provider="cpu", cpu_class="avx512_vnni", n=100, rmse=0.1, mae=0.1, non_finite_rows=0, deterministic=True
    )
    measured = card(variant_of=None).model_copy(update={"quality": (entry,)})
    summary = describe.summary(view("1", card=measured), HERE)
    assert (summary["accuracy"], summary["agreement"], summary["n"]) == (None, None, 100)
    (told,) = summary["quality"]
    assert (told["task"], told["accuracy"]) == ("regression", None)


def test_a_summary_tells_what_the_card_measured_here() -> None:
    speed = Speed(
        provider="cpu",
        cpu_class="avx512_vnni",
        threads=1,
        rows=8,
        runs=100,
        load_ms=1,
        first_run_ms=1,
        own=Timing(p50_ms=1.5, p95_ms=2, p99_ms=3, rows_per_s=5000),
        full=Timing(p50_ms=3, p95_ms=4, p99_ms=6, rows_per_s=2500),
        speedup=2.0,
    )
    measured = card().model_copy(update={"recipe": Recipe(name="int8"), "speed": (speed,)})
    summary = describe.summary(view("1-int8", card=measured), HERE)
    assert (summary["variant_of"], summary["recipe"], summary["verdict"]) == ("1", "int8", "pass")
    assert (summary["accuracy"], summary["agreement"], summary["n"]) == (0.9, 0.99, 100)
    assert summary["quality"] == [
        {
            "provider": "cpu",
            "cpu_class": "avx512_vnni",
            "n": 100,
            "accuracy": 0.9,
            "agreement": 0.99,
            "verdict": "pass",
            "task": "classification",
        }
    ]
    assert summary["latency"] == [
        {
            "provider": "cpu",
            "cpu_class": "avx512_vnni",
            "threads": 1,
            "rows": 8,
            "speedup": 2.0,
            "p50_ms": 1.5,
            "p99_ms": 3.0,
        }
    ]


def test_what_was_measured_elsewhere_is_listed_and_not_claimed() -> None:
    summary = describe.summary(view("1-int8", card=card()), ELSEWHERE)
    assert (summary["accuracy"], summary["agreement"]) == (None, None)
    assert summary["quality"][0]["provider"] == "cpu"
