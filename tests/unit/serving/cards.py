"""Cards for the tests of serving, as small as the schema allows."""

from service.repository.card import Batching, Card, FileEntry, Golden, GoldenTolerance, Parent
from service.repository.card_measures import Paired, Quality

SHA = "0" * 64


def quality(verdict: str | None, agreement: float = 0.99) -> Quality:
    """A measurement on 100 rows of two classes."""
    paired = Paired(
        full_accuracy=0.9,
        full_recall_by_class=(0.9, 0.9),
        b=1,
        c=1,
        delta=0.0,
        delta_interval_95=(-0.01, 0.01),
        delta_lower_95=-0.005,
        mcnemar_p=1.0,
        agreement=agreement,
        flips=1,
        mean_kl=0.001,
        max_abs_dp=0.01,
    )
    return Quality(
        provider="cpu",
        cpu_class="avx512_vnni",
        n=100,
        accuracy=0.9,
        macro_precision=0.9,
        macro_recall=0.9,
        macro_f1=0.9,
        support_by_class=(50, 50),
        recall_by_class=(0.9, 0.9),
        non_finite_rows=0,
        deterministic=True,
        paired=paired if verdict else None,
        verdict=verdict,
    )


def card(
    *,
    variant_of: str | None = "1",
    verdict: str | None = "pass",
    reasons: tuple[str, ...] = (),
    batching: Batching | None = None,
    tolerance: float | None = None,
    top1: bool = True,
) -> Card:
    """The card of version 1-int8 of model m, measured on a CPU with AVX512-VNNI."""
    verdict = verdict if variant_of else None
    golden = None
    if tolerance is not None:
        entry = GoldenTolerance(provider="cpu", cpu_class="avx512_vnni", max_abs=tolerance)
        golden = Golden(tolerances=(entry,), top1=top1)
    return Card(
        model="m",
        version="1-int8",
        variant_of=variant_of,
        parent=Parent(version="1", sha256=SHA) if variant_of else None,
        files={"model.onnx": FileEntry(sha256=SHA, bytes=1)},
        quality=(quality(verdict),),
        verdict=verdict,
        reasons=reasons,
        batching=batching,
        golden=golden,
    )
