"""Triton's trace settings: what holds where, who is sampled, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.core.errors import BadInput
from service.observe.trace_settings import MODE_FILE, MODE_SPANS, TraceSettings


@pytest.fixture
def settings() -> TraceSettings:
    """With an exporter and a file, so that nothing is refused for want of one."""
    return TraceSettings(spans=True, file="traces.json")


def sampled(settings: TraceSettings, times: int, model: str = "m", *, asked: bool = False) -> list[bool]:
    return [settings.sample(model, asked=asked) is not None for _ in range(times)]


def test_without_outlets_nothing_is_traced_and_triton_s_defaults_are_told() -> None:
    settings = TraceSettings()
    assert not settings.on
    assert settings.get() == {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "triton",
    }
    assert sampled(settings, 2000) == [False] * 2000


def test_with_an_exporter_every_request_is_traced_from_the_start() -> None:
    settings = TraceSettings(spans=True)
    assert settings.on
    assert (settings.get()["trace_level"], settings.get()["trace_mode"]) == (["TIMESTAMPS"], "opentelemetry")
    assert settings.sample("m", asked=False) == MODE_SPANS


def test_every_so_manyth_request_is_traced(settings: TraceSettings) -> None:
    settings.update({"trace_rate": "3"})
    assert sampled(settings, 7) == [False, False, True, False, False, True, False]


def test_a_client_that_records_its_own_part_is_not_kept_out_by_the_rate(settings: TraceSettings) -> None:
    settings.update({"trace_rate": "1000"})
    assert settings.sample("m", asked=True) == MODE_SPANS
    settings.update({"trace_mode": "triton"})
    assert settings.sample("m", asked=True) is None, "the file knows no parent"


def test_at_most_so_many_are_traced_and_the_rest_is_told(settings: TraceSettings) -> None:
    settings.update({"trace_count": "2"})
    assert sampled(settings, 4) == [True, True, False, False]
    assert settings.get()["trace_count"] == "0"
    settings.update({"trace_count": "1"})
    assert sampled(settings, 2) == [True, False]


def test_a_model_s_own_setting_wins_and_null_gives_it_back(settings: TraceSettings) -> None:
    settings.update({"trace_rate": "5"})
    settings.update({"trace_level": ["OFF"]}, "m")
    assert settings.get("m")["trace_level"] == ["OFF"]
    assert settings.get("m")["trace_rate"] == "5"
    assert settings.get("other")["trace_level"] == ["TIMESTAMPS"]
    settings.update({"trace_rate": "7"})
    assert settings.get("m")["trace_rate"] == "7", "what the model does not say follows the global setting"
    settings.update({"trace_level": None}, "m")
    assert settings.get("m") == settings.get()
    settings.update({"trace_rate": []})
    assert settings.get()["trace_rate"] == "1", "what the start said"


def test_a_change_of_one_model_leaves_the_others_counts(settings: TraceSettings) -> None:
    settings.update({"trace_count": "2"}, "m")
    settings.sample("m", asked=False)
    settings.update({"trace_rate": "2"}, "other")
    assert settings.get("m")["trace_count"] == "1"


def test_on_is_false_only_where_nobody_is_traced(settings: TraceSettings) -> None:
    settings.update({"trace_level": ["OFF"]})
    assert not settings.on
    settings.update({"trace_level": ["TIMESTAMPS"]}, "m")
    assert settings.on
    settings.update({"trace_level": []}, "m")
    assert not settings.on


def test_values_come_as_texts_or_as_lists_of_one(settings: TraceSettings) -> None:
    settings.update(
        {"trace_rate": ["4"], "trace_level": "TIMESTAMPS", "log_frequency": ["9"], "trace_mode": ["triton"]}
    )
    assert settings.get()["trace_rate"] == "4"
    assert settings.sample("m", asked=False) is None
    assert settings.frequency("m") == 9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trace_rat": "1"}, "'trace_rat' is no trace setting; did you mean 'trace_rate'?"),
        ({"x" * 500: "1"}, "is no trace setting."),
        ({"trace_rate": "0"}, "'trace_rate' is '0', expected a whole number from 1 to 4294967295"),
        ({"trace_rate": 3}, "'trace_rate' must be a text"),
        ({"trace_rate": ["1", "2"]}, "'trace_rate' must be a text"),
        ({"trace_rate": "9" * 400}, "expected a whole number from 1"),
        ({"trace_rate": "²"}, "expected a whole number from 1"),
        ({"trace_count": "-2"}, "expected a whole number from -1 to 2147483647"),
        ({"log_frequency": "x"}, "'log_frequency' is 'x', expected a whole number from 0"),
        ({"trace_level": ["TENSORS"]}, "TENSORS is not supported: traces hold times, never a client's data"),
        ({"trace_level": ["TIMESTAMPS", "TENSORS"]}, "TENSORS is not supported"),
        ({"trace_level": ["LOUD"]}, "'trace_level' holds 'LOUD', expected 'OFF' or 'TIMESTAMPS'"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "'trace_level' must hold OFF alone"),
        ({"trace_level": [1]}, "'trace_level' must be a list of texts"),
        ({"trace_mode": "jaeger"}, "'trace_mode' is 'jaeger', expected 'triton' or 'opentelemetry'"),
        ({"trace_file": "/etc/passwd"}, "trace file location can not be updated through network protocol"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(settings: TraceSettings, given: dict[str, Any], words: str) -> None:
    before = settings.get()
    with pytest.raises(BadInput) as refused:
        settings.update({"trace_count": "5", **given} if "trace_count" not in given else given)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300
    assert settings.get() == before


def test_the_file_s_own_name_may_be_sent_back(settings: TraceSettings) -> None:
    settings.update(settings.get())
    assert settings.get()["trace_file"] == "traces.json"


@pytest.mark.parametrize(
    ("settings", "mode", "words"),
    [
        (TraceSettings(spans=True), MODE_FILE, "has no trace file: it gets one at start, by RETORT_TRACE_FILE"),
        (TraceSettings(file="t"), MODE_SPANS, "has no exporter: it gets one at start, by OTEL_* variables"),
    ],
)
@pytest.mark.parametrize("model", ["", "m"])
def test_a_mode_without_an_outlet_is_refused(settings: TraceSettings, mode: str, words: str, model: str) -> None:
    with pytest.raises(BadInput, match=words.replace("*", r"\*")):
        settings.update({"trace_level": ["TIMESTAMPS"], "trace_mode": mode}, model)
    settings.update({"trace_level": ["OFF"], "trace_mode": mode}, "quiet")
    assert settings.get("quiet")["trace_mode"] == mode


def test_a_global_change_that_breaks_a_model_s_own_is_refused() -> None:
    settings = TraceSettings(spans=True)
    settings.update({"trace_level": ["TIMESTAMPS"]}, "m")
    with pytest.raises(BadInput, match="has no trace file"):
        settings.update({"trace_level": ["OFF"], "trace_mode": "triton"})
    assert settings.get("m")["trace_mode"] == "opentelemetry"
