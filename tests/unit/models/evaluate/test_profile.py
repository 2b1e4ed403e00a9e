"""Where the time goes: ONNX Runtime's own figures, and the sentences made of them."""

import numpy as np
import pytest
from onnx import helper

from models.evaluate.measure import Bench
from models.evaluate.profile import Profile, Spent, explain, profile
from tests.unit.models.compress.networks import images
from tests.unit.models.evaluate import planted

BENCH = Bench("a-cpu")


def made(**operators: tuple[int, float]) -> Profile:
    return Profile(8, {name: Spent(*spent) for name, spent in operators.items()})


def test_real_operators_are_counted_as_they_run(full_onnx: bytes) -> None:
    found = profile(full_onnx, images(), BENCH, rows=8, runs=5)
    assert found.rows == 8
    assert sum(one.nodes for one in found.operators.values()) >= 3
    assert any("Conv" in name for name in found.operators)
    assert all(one.us >= 0 for one in found.operators.values())
    assert found.us > 0


def test_added_work_is_found_where_it_was_planted(full_onnx: bytes) -> None:
    behind = planted.behind(
        full_onnx,
        [
            helper.make_node("MatMul", [planted.INNER, "first"], ["wide"]),
            *(helper.make_node("Erf", ["wide" if at == 0 else f"e{at - 1}"], [f"e{at}"]) for at in range(5)),
            helper.make_node("MatMul", ["e4", "last"], ["logits"]),
        ],
        first=np.ones((4, 20_000), np.float32),
        last=np.ones((20_000, 4), np.float32),
    )
    full, variant = (profile(one, images(), BENCH, rows=8, runs=5) for one in (full_onnx, behind))
    assert variant.of("Erf").nodes == 5
    assert any("5 Erf nodes more than in the full version" in sentence for sentence in explain(full, variant))


def test_two_equal_graphs_have_the_same_operators(full_onnx: bytes) -> None:
    full, again = (profile(full_onnx, images(), BENCH, rows=1, runs=3) for _ in range(2))
    assert any("runs the same operators" in sentence for sentence in explain(full, again))


def test_texts_are_profiled_with_their_real_ids() -> None:
    found = profile(planted.text(), planted.texts(8), BENCH, rows=8, runs=3)
    assert "Gather" in found.operators


def test_quantisers_that_were_not_fused() -> None:
    variant = made(Conv=(3, 44.0), QuantizeLinear=(5, 40.0), DequantizeLinear=(7, 34.0))
    total, sentence = explain(made(Conv=(3, 44.0)), variant)
    assert total == "At 8 rows a run's operators take 118 us, the full version's 44 us."
    assert sentence.startswith(
        "74 of 118 us go into 12 QuantizeLinear and DequantizeLinear nodes that ONNX Runtime could not fuse"
    )


def test_scales_that_are_looked_for_at_every_run() -> None:
    _, sentence = explain(made(MatMul=(2, 30.0)), made(MatMulInteger=(2, 20.0), DynamicQuantizeLinear=(2, 25.0)))
    assert sentence.startswith("25 of 45 us go into 2 DynamicQuantizeLinear nodes, which look for a scale anew")


def test_an_operator_that_costs_more_than_what_it_stands_for() -> None:
    _, sentence = explain(made(FusedConv=(3, 30.0)), made(ConvInteger=(3, 360.0)))
    assert sentence == (
        "A ConvInteger node costs 12x what a FusedConv node of the full version costs: 360 us in 3 against 30 us in 3."
    )


@pytest.mark.parametrize(("us", "told"), [(30.0, 0), (35.0, 0), (36.0, 1), (300.0, 1)])
def test_an_operator_is_named_from_a_fifth_more_on(us: float, told: int) -> None:
    sentences = explain(made(Gemm=(3, 30.0)), made(QGemm=(3, us)))[1:]
    assert sum("stands" in one or "A QGemm node costs" in one for one in sentences) == told


def test_what_takes_little_is_not_told() -> None:
    full = made(Conv=(3, 100.0))
    sentences = explain(full, made(Conv=(3, 100.0), Cast=(2, 1.0)))
    assert not any("Cast" in one for one in sentences)
    assert sentences[1] == "Most of it, 100 us, goes into 3 Conv nodes."


def test_casts_that_were_added() -> None:
    _, sentence = explain(made(Gemm=(2, 10.0)), made(Gemm=(2, 10.0), Cast=(4, 12.5)))
    assert sentence == "4 Cast nodes more than in the full version cost 12 of 22 us."


def test_nothing_is_divided_by_nothing() -> None:
    total, *others = explain(made(), made(Conv=(1, 0.0)))
    assert total.startswith("At 8 rows")
    assert "Conv" in " ".join(others)
