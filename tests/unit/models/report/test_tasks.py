"""The report speaks of every task: what is compared, what the difference is, and who is on the front."""

import numpy as np
import pytest

from models.data.samples import Samples
from models.evaluate.entries import Asked, entry
from models.evaluate.measure import Answers, Bench
from models.report import headline as names
from models.report.charts import class_chart, size_chart
from models.report.page import Page, summary
from models.report.rows import Row, comparable, rows_of
from models.report.table import cells
from service.repository.card import Card
from service.repository.card_tasks import AnyQuality
from tests.unit.models.report.cards import full, variant

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((60, 8))
LABELS = np.arange(60) % 3


def asked(kind: str) -> Asked:
    inputs = {"x": VECTORS.astype(np.float32)}
    if kind == "regression":
        return Asked("regression", Samples(inputs, targets=VECTORS + 0.1))
    if kind == "embedding with labels":
        return Asked("embedding", Samples(inputs, LABELS))
    if kind == "embedding":
        return Asked("embedding", Samples(inputs))
    return Asked("classification" if kind == "untested classes" else "embedding", Samples(inputs), is_test=False)


def cards(kind: str) -> list[Card]:
    """A full version, a variant that answers nearly the same, and one that answers something else."""
    here, bench = asked(kind), Bench("a-cpu")
    theirs = Answers(VECTORS, deterministic=True)
    answers = [VECTORS + 1e-3 * RNG.standard_normal(VECTORS.shape), RNG.standard_normal(VECTORS.shape)]
    near, far = (entry(Answers(one, deterministic=True), here, bench, theirs) for one in answers)
    own: AnyQuality = entry(theirs, here, bench)
    return [
        full().model_copy(update={"quality": (own,)}),
        variant("1-near", "pass", kib=512, speedup=2.0).model_copy(update={"quality": (near,)}),
        variant("1-far", "fail", kib=256, speedup=2.0).model_copy(update={"quality": (far,)}),
    ]


KINDS = {
    "regression": names.ERROR,
    "embedding with labels": names.LABEL_RECALL,
    "embedding": names.NEIGHBOURS,
    "untested classes": names.AGREEMENT,
    "untested vectors": names.COSINE,
}
DIFFERENCES = {
    "regression": ("x [", "]"),
    "embedding with labels": (" (>= ", ")"),
    "embedding": ("cosine ", ""),
    "untested classes": ("relative L2 ", ""),
    "untested vectors": ("relative L2 ", ""),
}


def rows(kind: str) -> tuple[Row, ...]:
    return rows_of(cards(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_has_its_figure_and_the_better_variant_the_better_one(kind: str) -> None:
    own, far, near = (row.headline for row in rows(kind))
    assert own is not None and near is not None and far is not None
    assert {own.name, near.name, far.name} == {KINDS[kind]}
    sign = 1 if near.higher_is_better else -1
    assert sign * near.value > sign * far.value
    assert sign * own.value >= sign * near.value - 1e-3
    if near.interval is not None:
        assert near.interval[0] <= near.value <= near.interval[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_difference_is_told_in_the_tasks_own_terms(kind: str) -> None:
    own, far, near = (cells(row, (1,))[4] for row in rows(kind))
    begin, end = DIFFERENCES[kind]
    assert own == "-"
    assert begin in near and near.endswith(end)
    assert near != far


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_written_of_each_task(kind: str) -> None:
    found = rows(kind)
    text = Page("m", found, (), {}, "").html()
    assert f"<th>{KINDS[kind]}</th>" in text
    assert all(f">{row.version}<" in size_chart(found) for row in found)
    assert all(class_chart(row, ()) == "" for row in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_front_goes_by_what_is_better_and_untested_versions_are_named(kind: str) -> None:
    said = summary(rows(kind))
    assert said[1].startswith("On the front of size and quality: 1-far, 1-near")
    untested = [line for line in said if line.startswith("Without a test set")]
    assert bool(untested) == kind.startswith("untested")


def test_on_an_error_a_larger_and_worse_version_is_not_on_the_front() -> None:
    worse = [card.model_copy(update={"size": cards("regression")[0].size}) for card in cards("regression")[2:]]
    said = summary(rows_of([*cards("regression")[:2], *worse]))
    assert "1-far" not in said[1]


def test_versions_that_were_measured_otherwise_are_not_compared_with_the_rest() -> None:
    mixed = rows_of([full(), variant("1-a", "pass", kib=512, speedup=2.0), cards("untested classes")[1]])
    assert [row.version for row, _ in comparable(mixed)] == ["1", "1-a"]
    assert ">1-near<" not in size_chart(mixed)
    (other,) = (row for row in mixed if row.version == "1-near")
    assert cells(other, (), names.ACCURACY)[3].endswith(f" {names.AGREEMENT}")


def test_notes_on_speed_are_on_the_page() -> None:
    noted = full().model_copy(update={"speed_notes": ("Most of it goes into <Conv>.",)})
    assert "<li>Most of it goes into &lt;Conv&gt;.</li>" in Page("m", rows_of([noted]), (), {}).html()
