"""The measured half of a card: quality per provider and CPU class, speed per batch size, and what a batch does to rows.

Figures only: which of them suffices is the gate's decision (`models.evaluate.gate`), and how they were measured is
`models.evaluate`'s. Fractions lie in 0..1, times are milliseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Verdict = Literal["pass", "fail", "insufficient-data"]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Amount = Annotated[float, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]


class CardPart(BaseModel):
    """A frozen piece of a card: no unknown key, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Paired(CardPart):
    """A variant held against its full version on the same test rows; "right" means equal to the label.

    Attributes:
        full_accuracy: of the full version on these rows.
        full_recall_by_class: of the full version, per class in label order.
        b: rows that the full version has right and the variant wrong.
        c: rows that the variant has right and the full version wrong.
        delta: (c - b) / n, the variant's accuracy less the full version's.
        delta_interval_95: two-sided 95 % interval of delta (Bonett and Price 2012).
        delta_lower_95: one-sided 95 % lower bound of delta, the one that the gate reads.
        mcnemar_p: exact two-sided p of McNemar's test.
        agreement: share of rows on which both give the same class.
        flips: rows on which they do not.
        mean_kl: mean Kullback-Leibler divergence, in nats, of the variant's softmax from the full version's.
        max_abs_dp: largest difference of any class's softmax probability on any row.
        full_macro_f1: of the full version; this and the following are None in cards that were made without them.
        macro_f1_lower_95: one-sided 95 % lower bound of the variant's macro F1 less the full version's, from a
            paired bootstrap.
        macro_f1_upper_95: its upper bound.
    """

    full_accuracy: Fraction
    full_recall_by_class: tuple[Fraction, ...]
    b: Count
    c: Count
    delta: Signed
    delta_interval_95: tuple[Signed, Signed]
    delta_lower_95: Signed
    mcnemar_p: Fraction
    agreement: Fraction
    flips: Count
    mean_kl: Amount
    max_abs_dp: Fraction
    full_macro_f1: Fraction | None = None
    macro_f1_lower_95: Signed | None = None
    macro_f1_upper_95: Signed | None = None


class Quality(CardPart):
    """What a classifier got right on the test set, on one provider and one class of CPU.

    Attributes:
        provider: "cpu", "cuda" or "tensorrt".
        cpu_class: as `service.core.cpu.cpu_class` names it, such as "avx512_vnni".
        n: test rows.
        support_by_class: test rows per class, in label order; sums to n.
        recall_by_class: in label order.
        non_finite_rows: rows with a NaN or an infinity in the output.
        deterministic: whether a second run of the same rows gave the same bytes.
        paired: against the full version; None for a full version.
        verdict: the gate's on this provider and CPU class; None for a full version.
    """

    provider: str
    cpu_class: str
    task: Literal["classification"] = "classification"
    n: Annotated[int, Field(gt=0)]
    accuracy: Fraction
    macro_precision: Fraction
    macro_recall: Fraction
    macro_f1: Fraction
    support_by_class: tuple[Count, ...]
    recall_by_class: tuple[Fraction, ...]
    non_finite_rows: Count
    deterministic: bool
    paired: Paired | None = None
    verdict: Verdict | None = None

    @property
    def agreement(self) -> float | None:
        """Share of test rows on which variant and full version agree; None for a full version."""
        return self.paired.agreement if self.paired else None

    @model_validator(mode="after")
    def _adds_up(self) -> Quality:
        if sum(self.support_by_class) != self.n or len(self.support_by_class) != len(self.recall_by_class):
            raise ValueError("support_by_class must sum to n and match recall_by_class")
        if (self.paired is None) != (self.verdict is None):
            raise ValueError("paired and verdict come together")
        return self


class Batching(CardPart):
    """Whether a row's answer depends on its batch-mates.

    Attributes:
        mode: "any", or "single-request-only": the batcher then never mixes or splits its requests.
        sensitivity: largest change of an output of a row, alone against in a batch, at every tested size and
            position, relative to the largest output; None when it was not measured.
        reason: why single-request-only; None for "any".
    """

    mode: Literal["any", "single-request-only"]
    sensitivity: Amount | None = None
    reason: str | None = None


class Timing(CardPart):
    """Percentiles of one run's time, and the rows a second that its median gives."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds
    rows_per_s: Amount


class Speed(CardPart):
    """Time of one run at one batch size; the full version's runs were interleaved with it on the same machine.

    Attributes:
        threads: intra-op threads.
        rows: batch size.
        runs: timed runs of each.
        load_ms: from bytes to a session.
        first_run_ms: the first run after the load.
        full: the full version's; None for a full version.
        speedup: median of full time / own time over pairs of neighbouring runs; None for a full version.
        speedup_interval_95: interval of that median, exact by the sign test (a bootstrap's in older
            cards); excludes 1 when one is measurably faster.
        speedup_joint_interval_95: the same, wider, so that those of all batch sizes measured together hold at once
            with 95 % (Bonferroni): the one that the gate reads. None in cards that were made without it.
    """

    provider: str
    cpu_class: str
    threads: Annotated[int, Field(gt=0)]
    rows: Annotated[int, Field(gt=0)]
    runs: Annotated[int, Field(gt=0)]
    load_ms: Milliseconds
    first_run_ms: Milliseconds
    own: Timing
    full: Timing | None = None
    speedup: Amount | None = None
    speedup_interval_95: tuple[Amount, Amount] | None = None
    speedup_joint_interval_95: tuple[Amount, Amount] | None = None
