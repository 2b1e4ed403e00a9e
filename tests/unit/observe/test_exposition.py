from __future__ import annotations

import math

import pytest
from prometheus_client import Metric, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.observe.exposition import exposition, number


def family(name: str, kind: str, value: float = 1, **labels: str) -> Metric:
    metric = Metric(name, "Help", kind)
    metric.add_sample(name, labels, value)
    return metric


def test_a_counter_keeps_its_name_in_every_line() -> None:
    text = exposition([family("nv_inference_count", "counter", 3, model="m")]).decode()
    assert text == (
        '# HELP nv_inference_count Help\n# TYPE nv_inference_count counter\nnv_inference_count{model="m"} 3\n'
    )


def test_prometheus_own_writer_would_have_renamed_it() -> None:
    class One:
        def collect(self) -> list[Metric]:
            return [family("nv_inference_count", "counter")]

    assert b"# TYPE nv_inference_count_total counter" in generate_latest(One())  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", 'x"} 1\nforged{a="b'])
def test_a_label_value_can_neither_end_its_line_nor_its_quotes(value: str) -> None:
    text = exposition([family("a", "gauge", 1, model=value)]).decode()
    assert len(text.splitlines()) == 3
    (read,) = text_string_to_metric_families(text)
    assert [(s.name, s.labels["model"]) for s in read.samples] == [("a", value)]


def test_help_stays_on_its_line() -> None:
    metric = Metric("a", "one\ntwo\\", "gauge")
    metric.add_sample("a", {}, 1)
    assert exposition([metric]).decode().splitlines()[0] == "# HELP a one\\ntwo\\\\"


def test_a_family_without_samples_is_left_out() -> None:
    assert exposition([Metric("a", "Help", "gauge")]) == b""


def test_an_unknown_type_is_untyped() -> None:
    assert b"# TYPE a untyped" in exposition([family("a", "unknown")])


def test_prometheus_own_counters_keep_their_total() -> None:
    text = exposition(ProcessCollector(registry=None).collect()).decode()
    assert "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total " in text


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (2**53 + 1, "9007199254740993"), (0.1, "0.1"), (math.inf, "+Inf")]
)
def test_numbers_are_written_without_loss(value: float, text: str) -> None:
    assert number(value) == text
