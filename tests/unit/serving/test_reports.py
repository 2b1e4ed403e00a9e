"""What an operation answers, in the keys of the wire."""

from service.serving.gate import Machine
from service.serving.reports import SwapReport, agreement_of
from tests.unit.serving.cards import card

HERE = Machine("cpu", "avx512_vnni")


def test_a_swap_report_has_exactly_the_keys_of_the_wire() -> None:
    report = SwapReport("m", "1", "2", {"value": 0.99}, {"n": 3}, 1.23456, 2.0, 0.00049, "forced")
    assert report.to_json() == {
        "model": "m",
        "from": "1",
        "to": "2",
        "agreement": {"value": 0.99},
        "golden": {"n": 3},
        "load_ms": 1.235,
        "warm_ms": 2.0,
        "drain_ms": 0.0,
        "warning": "forced",
    }


def test_agreement_is_the_cards_where_it_was_measured_on_this_kind_of_machine() -> None:
    assert agreement_of(card(), HERE) == {"value": 0.99, "n": 100, "source": "card"}


def test_agreement_is_not_claimed_for_another_machine_a_full_version_or_no_card() -> None:
    assert agreement_of(card(), Machine("cuda", "avx512_vnni")) is None
    assert agreement_of(card(), Machine("cpu", "avx2")) is None
    assert agreement_of(card(variant_of=None), HERE) is None
    assert agreement_of(None, HERE) is None
