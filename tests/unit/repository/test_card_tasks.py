"""Quality of other tasks than classification, in a card and on its own."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.core.errors import BadModel
from service.repository.card import Card, read_card
from service.repository.card_measures import Quality
from service.repository.card_tasks import (
    EmbeddingQuality,
    RegressionQuality,
    UnlabelledQuality,
)

SHA = "0" * 64
HERE = {"provider": "cpu", "cpu_class": "avx2", "n": 100, "non_finite_rows": 0, "deterministic": True}
REGRESSION = HERE | {
    "task": "regression",
    "rmse": 0.5,
    "mae": 0.4,
    "r2": 0.9,
    "paired": {
        "full_rmse": 0.5,
        "full_mae": 0.4,
        "error_ratio": 1.0,
        "error_ratio_interval_95": [0.99, 1.01],
        "error_ratio_lower_95": 0.995,
        "error_ratio_upper_95": 1.005,
        "relative_l2": 0.01,
    },
    "verdict": "pass",
}
EMBEDDING = HERE | {
    "task": "embedding",
    "label_recall": 0.9,
    "paired": {
        "cosine_mean": 0.999,
        "cosine_p01": 0.99,
        "neighbour_recall": 0.98,
        "neighbour_recall_lower_95": 0.97,
        "neighbour_recall_upper_95": 0.99,
        "full_label_recall": 0.9,
        "label_recall_delta": 0.0,
        "label_recall_lower_95": -0.01,
        "label_recall_upper_95": 0.01,
    },
    "verdict": "pass",
}
UNLABELLED = HERE | {
    "task": "unlabelled",
    "of": "classification",
    "paired": {"top1_agreement": 0.99, "relative_l2": 0.01, "cosine_p01": 0.999},
    "verdict": "insufficient-data",
}
ALL = (
    (REGRESSION, RegressionQuality, None),
    (EMBEDDING, EmbeddingQuality, 0.98),
    (UNLABELLED, UnlabelledQuality, 0.99),
)


def card(*quality: dict[str, Any], verdict: str | None) -> dict[str, Any]:
    return {
        "schema": "retort.card/1",
        "model": "m",
        "version": "1-int8",
        "variant_of": "1" if verdict else None,
        "parent": {"version": "1", "sha256": SHA} if verdict else None,
        "files": {"model.onnx": {"sha256": SHA, "bytes": 1}},
        "quality": list(quality),
        "verdict": verdict,
    }


def read(document: dict[str, Any]) -> Card:
    return read_card(json.dumps(document).encode())


@pytest.mark.parametrize(("entry", "kind", "agreement"), ALL)
def test_an_entry_is_read_by_its_task_and_loses_nothing(entry: dict[str, Any], kind: type, agreement: float) -> None:
    made = read(card(entry, verdict=entry["verdict"]))
    (found,) = made.quality
    assert type(found) is kind
    assert found.agreement == agreement
    assert json.loads(made.to_json())["quality"] == [entry]
    assert read_card(made.to_json()) == made
    assert made.quality_on("cpu", "avx2") == found


@pytest.mark.parametrize(("entry", "kind", "agreement"), ALL)
def test_of_a_full_version_nothing_is_paired(entry: dict[str, Any], kind: type, agreement: float) -> None:
    (found,) = read(card(entry | {"paired": None, "verdict": None}, verdict=None)).quality
    assert isinstance(found, kind)
    assert found.agreement is None
    assert agreement != 0


@pytest.mark.parametrize(("entry", "kind", "agreement"), ALL)
def test_paired_and_verdict_come_together(entry: dict[str, Any], kind: type, agreement: float) -> None:
    assert kind.__name__.lower().startswith(entry["task"])
    with pytest.raises(BadModel, match=r"at quality\.0: paired and verdict come together"):
        read(card(entry | {"paired": None}, verdict=entry["verdict"]))
    assert agreement is None or 0 <= agreement <= 1


@pytest.mark.parametrize(
    ("entry", "key", "value", "said"),
    [
        (REGRESSION, "rmse", -1.0, "at quality.0.rmse:"),
        (REGRESSION, "accuracy", 1.0, "at quality.0.accuracy: unknown key"),
        (EMBEDDING, "label_recall", 1.5, "at quality.0.label_recall:"),
        (UNLABELLED, "of", "unlabelled", "at quality.0.of:"),
        (UNLABELLED, "n", 0, "at quality.0.n:"),
        (REGRESSION, "task", "poetry", "at quality.0:"),
        (REGRESSION, "task", 7, "at quality.0:"),
    ],
)
def test_what_is_wrong_is_named_without_pydantics_tags(entry: dict[str, Any], key: str, value: Any, said: str) -> None:
    with pytest.raises(BadModel) as refusal:
        read(card(entry | {key: value}, verdict=entry["verdict"]))
    assert said in str(refusal.value)


def test_an_entry_without_a_task_is_a_classifiers() -> None:
    with pytest.raises(BadModel, match=r"quality\.0\.rmse: unknown key|quality\.0\.accuracy"):
        read(card({key: one for key, one in REGRESSION.items() if key != "task"}, verdict="pass"))
    assert Quality.model_fields["task"].default == "classification"


def test_the_worst_of_several_machines_and_tasks_is_the_verdict() -> None:
    elsewhere = REGRESSION | {"cpu_class": "neon", "verdict": "fail"}
    assert read(card(REGRESSION, elsewhere, verdict="fail")).verdict == "fail"
    with pytest.raises(BadModel, match="worst of quality's"):
        read(card(REGRESSION, elsewhere, verdict="pass"))


def test_no_figure_may_be_nan() -> None:
    with pytest.raises(ValidationError):
        RegressionQuality(**(REGRESSION | {"rmse": float("nan")}))
