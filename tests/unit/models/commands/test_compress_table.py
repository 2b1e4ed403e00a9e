"""The table says what the cards say, for every task, and nothing that they do not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models import publish
from models.assemble import Published
from models.commands import compress_table
from models.commands.compress_table import NOTHING
from models.compressing import Outcome
from models.order import Wanted
from models.recipes import reading
from models.remeasuring import Again
from service.repository.card import Card
from service.repository.card_tasks import EmbeddingPaired, EmbeddingQuality, RegressionPaired, RegressionQuality
from service.repository.layout import Repository

PLAN = reading.named("int8-static")


def shipped(version: str) -> Card:
    card = Repository(Path(publish.__file__).parent / "repository").read_card("digits", version)
    assert card is not None
    return card


FULL = Published(shipped("1"), b"")
INT8 = Outcome(
    Wanted(PLAN, "1-int8"), Published(shipped("1-int8"), b"", ("It is a note.",)), tried=("as it stands: pass",)
)
UNMADE = Outcome(Wanted(PLAN, "1-none"), refusal="Recipe int8-static, step 2 of 2: nothing to do.")


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: line for line in text.splitlines() if line}


def test_a_row_has_the_cards_own_figures() -> None:
    card = shipped("1-int8")
    found = rows(compress_table.as_text(FULL, [INT8, UNMADE]))
    quality: Any = card.quality[0]
    low, high = quality.paired.delta_interval_95
    for figure in (
        f"{755618 / 201817:.2f}x smaller",
        f"accuracy {quality.accuracy:.4g}",
        f"{quality.paired.delta:+.4f} ({low:+.4f}, {high:+.4f})",
        f"{quality.paired.agreement:.2%}",
        *(f"{speed.speedup:.2f}x" for speed in card.speed),
    ):
        assert figure in found["1-int8"]
    assert found["1-int8"].endswith(str(card.verdict))
    assert found["1"].endswith("full version")
    assert found["1-none"].endswith("not made")


def test_below_it_stand_ladder_notes_and_refusals_but_no_reasons_of_what_passed() -> None:
    lines = compress_table.as_text(FULL, [INT8, UNMADE]).splitlines()
    assert lines[4:] == [
        "1-int8, ladder: as it stands: pass",
        "1-int8: It is a note.",
        "1-none: Recipe int8-static, step 2 of 2: nothing to do.",
    ]


def test_negative_control_what_failed_says_why() -> None:
    failed = shipped("1-int8").model_copy(update={"verdict": "fail", "reasons": ("accuracy: too low",)})
    text = compress_table.as_text(FULL, [Outcome(Wanted(PLAN, "1-int8"), Published(failed, b""))])
    assert text.splitlines()[-1] == "1-int8: accuracy: too low"


def test_what_lies_coded_is_measured_by_the_coded_file() -> None:
    size = shipped("1-int8").size
    assert size is not None
    coded = shipped("1-int8").model_copy(update={"size": size.model_copy(update={"coded_bytes": 2000})})
    row = rows(compress_table.as_text(FULL, [Outcome(Wanted(PLAN, "1-int8"), Published(coded, b""))]))["1-int8"]
    assert "2.0 KiB" in row
    assert f"{755618 / 2000:.2f}x smaller" in row


def with_quality(quality: Any) -> str:
    card = shipped("1-int8").model_copy(update={"quality": (quality,)})
    return rows(compress_table.as_text(FULL, [Outcome(Wanted(PLAN, "1-int8"), Published(card, b""))]))["1-int8"]


COMMON: dict[str, Any] = {
    "provider": "cpu",
    "cpu_class": "other",
    "n": 9,
    "non_finite_rows": 0,
    "deterministic": True,
    "verdict": "pass",
}


def test_a_regression_is_told_by_its_error() -> None:
    paired = RegressionPaired(
        full_rmse=1,
        full_mae=1,
        error_ratio=1.25,
        error_ratio_interval_95=(1.0, 1.5),
        error_ratio_lower_95=1.1,
        error_ratio_upper_95=1.4,
        relative_l2=0.1,
    )
    row = with_quality(RegressionQuality(**COMMON, rmse=1.25, mae=1, paired=paired))
    assert "rmse 1.25" in row
    assert "error x1.2500 (1.0000, 1.5000)" in row
    assert f" {NOTHING} " in row


def test_an_embedding_is_told_by_its_cosine() -> None:
    paired = EmbeddingPaired(
        cosine_mean=0.999,
        cosine_p01=0.991,
        neighbour_recall=0.97,
        neighbour_recall_lower_95=0.9,
        neighbour_recall_upper_95=0.99,
    )
    row = with_quality(EmbeddingQuality(**COMMON, paired=paired))
    assert "1st percentile of cosine 0.9910" in row
    assert "97.00%" in row


def test_machines_get_the_same() -> None:
    job: Any = SimpleNamespace(setup=SimpleNamespace(folder=Path("repository/digits")))
    told = json.loads(compress_table.as_json(job, FULL, [INT8, UNMADE]))
    assert (told["model"], told["full"]["version"]) == ("digits", "1")
    made, unmade = told["variants"]
    assert (made["version"], made["recipe"], made["verdict"], made["refusal"]) == (
        "1-int8",
        "int8-static",
        "pass",
        None,
    )
    assert made["quality"] == json.loads(shipped("1-int8").to_json())["quality"]
    assert (unmade["version"], unmade["refusal"]) == ("1-none", UNMADE.refusal)
    assert "verdict" not in unmade


def test_cards_that_were_measured_again_say_where_a_verdict_changed() -> None:
    before = shipped("1-int8")
    after = before.model_copy(update={"verdict": "fail"})
    text = compress_table.remeasured_text([Again(shipped("1"), shipped("1")), Again(before, after)])
    assert text.splitlines()[-1] == "1-int8: verdict fail, was pass"
    told = json.loads(compress_table.remeasured_json([Again(before, after)]))
    assert (told[0]["verdict"], told[0]["verdict_before"]) == ("fail", "pass")


@pytest.mark.parametrize(
    ("outcome", "line"), [(INT8, "published, verdict pass"), (UNMADE, "not made. Recipe int8-static")]
)
def test_one_line_when_a_variant_is_done(outcome: Outcome, line: str) -> None:
    assert compress_table.sentence(outcome).startswith(f"{outcome.wanted.version}: {line}")


def test_what_was_not_made_stands_where_it_was_asked_for() -> None:
    table = compress_table.as_text(FULL, [UNMADE, INT8]).splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["1", "1-none", "1-int8"]
    table = compress_table.as_text(FULL, [INT8, UNMADE]).splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["1", "1-int8", "1-none"]
