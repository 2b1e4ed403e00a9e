"""Quality of versions that are no classifiers, and of those that were measured without a test set.

The counterparts of `card_measures.Quality`, told apart in a card by `task`. Figures only, each paired with the full
version's on the same rows; bounds come from paired bootstraps. A number that is not finite was counted as 0 where
errors and angles are taken; `non_finite_rows` says how many rows had one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from service.repository.card_measures import Amount, CardPart, Count, Fraction, Quality, Signed, Verdict

Task = Literal["classification", "regression", "embedding"]
Entry = TypeVar("Entry", bound="RegressionQuality | EmbeddingQuality | UnlabelledQuality")
TASKS = ("classification", "regression", "embedding", "unlabelled")


class RegressionPaired(CardPart):
    """A regression held against its full version on the same test rows.

    Attributes:
        full_rmse: root of the full version's mean squared error.
        full_mae: its mean absolute error.
        error_ratio: rmse / full_rmse; above 1 the variant errs more. At most 1e6.
        error_ratio_interval_95: two-sided, from a paired bootstrap.
        error_ratio_lower_95: one-sided 95 % lower bound.
        error_ratio_upper_95: one-sided 95 % upper bound, the one that the gate reads.
        relative_l2: norm of the difference of the two versions' answers / norm of the full version's.
    """

    full_rmse: Amount
    full_mae: Amount
    error_ratio: Amount
    error_ratio_interval_95: tuple[Amount, Amount]
    error_ratio_lower_95: Amount
    error_ratio_upper_95: Amount
    relative_l2: Amount


class RegressionQuality(CardPart):
    """How far a regression's answers lie from their targets, on one provider and one class of CPU.

    Attributes:
        rmse: root of the mean squared error over all numbers of all rows.
        mae: mean absolute error.
        r2: coefficient of determination; None where the targets do not vary.
    """

    provider: str
    cpu_class: str
    task: Literal["regression"] = "regression"
    n: Annotated[int, Field(gt=0)]
    rmse: Amount
    mae: Amount
    r2: Annotated[float, Field(le=1)] | None = None
    non_finite_rows: Count
    deterministic: bool
    paired: RegressionPaired | None = None
    verdict: Verdict | None = None

    @property
    def agreement(self) -> float | None:
        """None: two numbers are close, they do not agree."""
        return None

    @model_validator(mode="after")
    def _pairs(self) -> RegressionQuality:
        return _together(self)


class EmbeddingPaired(CardPart):
    """Embeddings held against the full version's of the same test rows.

    Attributes:
        cosine_mean: mean over the rows of the cosine of the two versions' vectors.
        cosine_p01: their 1st percentile.
        neighbour_recall: share of rows whose nearest other row, by cosine, is the same in both versions.
        neighbour_recall_lower_95: its one-sided 95 % lower bound, from a bootstrap over the rows.
        neighbour_recall_upper_95: its upper bound.
        full_label_recall: the full version's `label_recall`; None without labels.
        label_recall_delta: the variant's less the full version's.
        label_recall_lower_95: one-sided 95 % lower bound of that difference, from a paired bootstrap.
        label_recall_upper_95: its upper bound.
    """

    cosine_mean: Signed
    cosine_p01: Signed
    neighbour_recall: Fraction
    neighbour_recall_lower_95: Fraction
    neighbour_recall_upper_95: Fraction
    full_label_recall: Fraction | None = None
    label_recall_delta: Signed | None = None
    label_recall_lower_95: Signed | None = None
    label_recall_upper_95: Signed | None = None


class EmbeddingQuality(CardPart):
    """How well vectors lie beside their like, on one provider and one class of CPU.

    Attributes:
        label_recall: share of rows whose nearest other row, by cosine, has their label; None without labels.
    """

    provider: str
    cpu_class: str
    task: Literal["embedding"] = "embedding"
    n: Annotated[int, Field(gt=0)]
    label_recall: Fraction | None = None
    non_finite_rows: Count
    deterministic: bool
    paired: EmbeddingPaired | None = None
    verdict: Verdict | None = None

    @property
    def agreement(self) -> float | None:
        """Share of rows with the same nearest neighbour in both versions; None for a full version."""
        return self.paired.neighbour_recall if self.paired else None

    @model_validator(mode="after")
    def _pairs(self) -> EmbeddingQuality:
        return _together(self)


class UnlabelledPaired(CardPart):
    """A variant held against its full version on rows of which nobody knows the answer.

    Attributes:
        top1_agreement: of classifiers: share of rows on which both give the same class.
        relative_l2: norm of the difference of the two versions' answers / norm of the full version's.
        cosine_p01: 1st percentile over the rows of the cosine of the two answers.
    """

    top1_agreement: Fraction | None = None
    relative_l2: Amount
    cosine_p01: Signed


class UnlabelledQuality(CardPart):
    """What is known of a version without a test set: how it compares on `n` calibration rows, which proves nothing.

    Attributes:
        of: what kind of model it is.
    """

    provider: str
    cpu_class: str
    task: Literal["unlabelled"] = "unlabelled"
    of: Task
    n: Annotated[int, Field(gt=0)]
    non_finite_rows: Count
    deterministic: bool
    paired: UnlabelledPaired | None = None
    verdict: Verdict | None = None

    @property
    def agreement(self) -> float | None:
        """Share of rows on which both give the same class; None for what is no classifier, and for a full version."""
        return self.paired.top1_agreement if self.paired else None

    @model_validator(mode="after")
    def _pairs(self) -> UnlabelledQuality:
        return _together(self)


def _task(value: Any) -> str:
    task = value.get("task", TASKS[0]) if isinstance(value, dict) else getattr(value, "task", TASKS[0])
    return task if isinstance(task, str) else ""


def _together(entry: Entry) -> Entry:
    if (entry.paired is None) != (entry.verdict is None):
        raise ValueError("paired and verdict come together")
    return entry


AnyQuality: TypeAlias = Annotated[
    Annotated[Quality, Tag("classification")]
    | Annotated[RegressionQuality, Tag("regression")]
    | Annotated[EmbeddingQuality, Tag("embedding")]
    | Annotated[UnlabelledQuality, Tag("unlabelled")],
    Discriminator(_task),
]
