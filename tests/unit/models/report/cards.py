"""Cards for the report's tests: a full version and variants whose figures are easy to check by eye."""

from __future__ import annotations

from models.evaluate import statistics
from service.repository.card import Card, Parent, Recipe, Size, Step
from service.repository.card_measures import Paired, Quality, Speed, Timing, Verdict

N = 1000
SHA = "0" * 64


def quality(right: int, verdict: Verdict | None = None, *, b: int = 0, c: int = 0) -> Quality:
    recalls = (right / N, right / N)
    paired = None
    if verdict is not None:
        full = (right + b - c) / N
        paired = Paired(
            full_accuracy=full,
            full_recall_by_class=(full, full),
            b=b,
            c=c,
            delta=(c - b) / N,
            delta_interval_95=statistics.bonett_price_interval(b, c, N),
            delta_lower_95=statistics.bonett_price_lower(b, c, N),
            mcnemar_p=statistics.mcnemar_exact(b, c),
            agreement=1 - (b + c) / N,
            flips=b + c,
            mean_kl=0.0,
            max_abs_dp=0.0,
        )
    return Quality(
        provider="cpu",
        cpu_class="a-cpu",
        n=N,
        accuracy=right / N,
        macro_precision=right / N,
        macro_recall=right / N,
        macro_f1=right / N,
        support_by_class=(N // 2, N // 2),
        recall_by_class=recalls,
        non_finite_rows=0,
        deterministic=True,
        paired=paired,
        verdict=verdict,
    )


def timing(p50_ms: float) -> Timing:
    return Timing(p50_ms=p50_ms, p95_ms=p50_ms, p99_ms=p50_ms, rows_per_s=1000 / p50_ms)


def speed(rows: int, p50_ms: float, speedup: float | None = None) -> Speed:
    more = {}
    if speedup is not None:
        more = {"full": timing(p50_ms * speedup), "speedup": speedup}
        more["speedup_interval_95"] = (speedup * 0.9, speedup * 1.1)
    return Speed(
        provider="cpu",
        cpu_class="a-cpu",
        threads=1,
        rows=rows,
        runs=10,
        load_ms=1.0,
        first_run_ms=1.0,
        own=timing(p50_ms),
        **more,
    )


def full(right: int = 960) -> Card:
    return Card(
        model="m",
        version="1",
        files={},
        recipe=Recipe(name="train", seed=0, steps=(Step(technique="train", arguments={"epochs": 3}),)),
        size=Size(file_bytes=1 << 20),
        quality=(quality(right),),
        speed=(speed(1, 1.0), speed(8, 4.0)),
        not_verified=("Anything <else>.",),
    )


def variant(
    version: str, verdict: Verdict, *, kib: int, speedup: float, b: int = 0, coded_kib: int | None = None
) -> Card:
    return Card(
        model="m",
        version=version,
        variant_of="1",
        parent=Parent(version="1", sha256=SHA),
        files={},
        size=Size(file_bytes=kib << 10, parent_file_bytes=1 << 20, coded_bytes=coded_kib << 10 if coded_kib else None),
        quality=(quality(960 - b, verdict, b=b),),
        speed=(speed(1, 1 / speedup, speedup), speed(8, 4 / speedup, speedup)),
        gain_kind="speed" if speedup > 1 else "storage-only",
        verdict=verdict,
        reasons=(f"accuracy: {version}",),
    )
