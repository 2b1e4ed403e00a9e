from __future__ import annotations

import pytest

from service.repository.config_sections import DynamicBatching, QueuePolicy
from tests.unit.repository.triton_texts import problem, read, told


def test_dynamic_batching_is_taken_with_its_policies() -> None:
    config = read("""
      max_batch_size: 16
      dynamic_batching {
        preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 preserve_ordering: true
        priority_levels: 2 default_priority_level: 2
        default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 7 max_queue_size: 3 }
        priority_queue_policy { key: 1 value { allow_timeout_override: true } }
      }""")
    assert config.dynamic_batching == DynamicBatching(
        preferred_batch_size=(4, 8),
        max_queue_delay_microseconds=100,
        preserve_ordering=True,
        priority_levels=2,
        default_priority_level=2,
        timeout_action="DELAY",
        default_timeout_microseconds=7,
        allow_timeout_override=False,
        max_queue_size=3,
        priority_queue_policy={1: QueuePolicy(allow_timeout_override=True)},
    )


def test_a_queue_without_a_limit_gets_ours() -> None:
    config = read("max_batch_size: 2 dynamic_batching { default_queue_policy { } }")
    assert config.dynamic_batching == DynamicBatching(allow_timeout_override=False)
    assert read("max_batch_size: 2 dynamic_batching { }").dynamic_batching == DynamicBatching()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("priority_levels: 2", "'dynamic_batching.default_priority_level' is 0, expected 1 to 2"),
        ("priority_levels: 2 default_priority_level: 3", "is 3, expected 1 to 2"),
        ("priority_levels: 99 default_priority_level: 1", "'dynamic_batching.priority_levels'"),
        ("preferred_batch_size: [99]", "a preferred_batch_size is larger than max_batch_size"),
        (
            "priority_levels: 1 default_priority_level: 1 priority_queue_policy { key: 2 value { } }",
            "names level 2, and priority_levels is 1",
        ),
        ("max_queue_delay_microseconds: 99999999999", "'dynamic_batching.max_queue_delay_microseconds'"),
    ],
)
def test_dynamic_batching_that_cannot_be_is_refused(section: str, words: str) -> None:
    assert words in problem(f"max_batch_size: 8 dynamic_batching {{ {section} }}")


SEQUENCES = """
  sequence_batching {
    max_sequence_idle_microseconds: 5000000
    oldest { max_candidate_sequences: 4 max_queue_delay_microseconds: 9 }
    control_input [
      { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
      { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
      { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ -1, 2 ] } ] },
      { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
    ]
    state [
      { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 2, -1 ]
        initial_state { data_type: TYPE_FP32 dims: [ 2, 64 ] zero_data: true name: "zero" } },
      { input_name: "c" output_name: "cn" data_type: TYPE_FP32 dims: [ 8 ] }
    ]
  }"""


def test_sequences_are_taken_with_controls_and_states() -> None:
    sequences = read(SEQUENCES).sequences
    assert sequences is not None
    assert told(sequences, "strategy", "max_sequence_idle_microseconds") == ("oldest", 5_000_000)  # type: ignore[arg-type]
    assert (sequences.max_candidate_sequences, sequences.max_queue_delay_microseconds) == (4, 9)
    assert [(c.input, c.kind, c.false_value, c.true_value) for c in sequences.controls] == [
        ("START", "start", 0, 1),
        ("END", "end", 0, 1),
        ("READY", "ready", -1, 2),
        ("ID", "corrid", 0, 1),
    ]
    assert [(s.input, s.output, s.shape, s.initial) for s in sequences.states] == [
        ("h", "hn", (2, 64), 0),
        ("c", "cn", (8,), 0),
    ]


def test_sequences_without_more_are_direct_and_idle_for_a_second() -> None:
    sequences = read("sequence_batching { }").sequences
    assert sequences is not None
    assert (sequences.strategy, sequences.max_sequence_idle_microseconds) == ("direct", 1_000_000)
    assert read("sequence_batching { direct { max_queue_delay_microseconds: 3 } }").sequences is not None
    assert read("max_batch_size: 1").sequences is None


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('control_input [ { name: "s" } ]', "it holds 0 controls"),
        ('control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_END } ] } ]', "must have two values"),
        (
            'control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [1] } ] } ]',
            "must have two values",
        ),
        (
            'control_input [ { name: "s" control [ { kind: CONTROL_SEQUENCE_CORRID int32_false_true: [0, 1] } ] } ]',
            "which a correlation id does not have",
        ),
        ('state [ { input_name: "h" output_name: "n" initial_state [ {}, {} ] } ]', "is given more than once"),
        (
            'state [ { input_name: "h" output_name: "n" initial_state [ { data_file: "h.bin" } ] } ]',
            "data_file is not supported",
        ),
        ('state [ { input_name: "h" } ]', "'sequences.states.0.output'"),
    ],
)
def test_sequences_that_cannot_be_said_are_refused(section: str, words: str) -> None:
    assert words in problem(f"sequence_batching {{ {section} }}")


def test_the_response_cache_is_switched_on() -> None:
    assert read("response_cache { enable: true }").response_cache is not None
    assert read("response_cache { enable: false }").response_cache is None
