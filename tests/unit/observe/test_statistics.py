from __future__ import annotations

from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from service.batching.contract import Answer, BatchReport, CloseReason, DropReason
from service.core.contract import Timing as BatcherTiming
from service.observe.names import CLOSE_REASONS
from service.observe.statistics import ModelStatistics, VersionStatistics
from tests.unit.observe.batches import Batch, Timing


def statistics() -> VersionStatistics:
    return VersionStatistics("digits", "1-int8", wall_clock_s=lambda: 1_700_000_000.5)


def test_a_version_that_saw_nothing_has_zeros_in_every_field() -> None:
    entry = statistics().to_triton()
    zero = {"count": 0, "ns": 0}
    assert entry == {
        "name": "digits",
        "version": "1-int8",
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "inference_stats": {
            "success": zero,
            "fail": zero,
            "queue": zero,
            "compute_input": zero,
            "compute_infer": zero,
            "compute_output": zero,
            "cache_hit": zero,
            "cache_miss": zero,
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def test_requests_count_once_each_with_the_phases_of_their_batch() -> None:
    counted = statistics()
    counted.request_done(5_000_000, Timing())
    counted.request_done(7_000_000, Timing(queue_ns=9_000))
    stats = counted.to_triton()["inference_stats"]
    assert stats["success"] == {"count": 2, "ns": 12_000_000}
    assert stats["queue"] == {"count": 2, "ns": 10_000}
    assert stats["compute_input"] == {"count": 2, "ns": 4_000}
    assert stats["compute_infer"] == {"count": 2, "ns": 6_000_000}
    assert stats["compute_output"] == {"count": 2, "ns": 8_000}
    assert counted.request_times.cumulative()[-1] == counted.queue_times.cumulative()[-1] == 2


def test_a_kept_answer_is_a_success_that_computed_nothing() -> None:
    counted = statistics()
    counted.request_done(3_000, Timing(queue_ns=0), cached=True)
    counted.cache_hit.add(2_000)
    counted.cache_miss.add(500)
    stats = counted.to_triton()["inference_stats"]
    assert (stats["success"], stats["queue"]["count"]) == ({"count": 1, "ns": 3_000}, 1)
    assert stats["compute_infer"] == {"count": 0, "ns": 0}
    assert (stats["cache_hit"], stats["cache_miss"]) == ({"count": 1, "ns": 2_000}, {"count": 1, "ns": 500})


def test_failures_are_counted_by_reason_and_summed_for_triton() -> None:
    counted = statistics()
    counted.request_failed("REJECTED", 10)
    counted.request_failed("REJECTED", 20)
    counted.request_failed("something new", 30)
    assert counted.failures["REJECTED"].to_triton() == {"count": 2, "ns": 30}
    assert counted.failures["BACKEND"].count == 0
    assert counted.to_triton()["inference_stats"]["fail"] == {"count": 3, "ns": 60}
    assert counted.to_triton()["inference_stats"]["success"]["count"] == 0


def test_rows_and_runs_come_from_batches_not_from_requests() -> None:
    counted = statistics()
    counted.batch_ran(Batch(rows=4))
    counted.batch_ran(Batch(rows=4, close_reason="deadline"))
    counted.batch_ran(Batch(rows=1, requests=1, infer_ns=1_000))
    entry = counted.to_triton()
    assert (entry["inference_count"], entry["execution_count"]) == (9, 3)
    assert entry["last_inference"] == 1_700_000_000_500
    assert [batch["batch_size"] for batch in entry["batch_stats"]] == [1, 4]
    assert entry["batch_stats"][0]["compute_infer"] == {"count": 1, "ns": 1_000}
    assert entry["batch_stats"][1]["compute_infer"] == {"count": 2, "ns": 6_000_000}
    assert (counted.close_reasons["full"], counted.close_reasons["deadline"]) == (2, 1)
    assert counted.batch_rows.total == 9
    assert counted.batch_requests.total == 5


def test_memory_is_told_once_it_is_known() -> None:
    counted = statistics()
    counted.memory_bytes = 1234
    assert counted.to_triton()["memory_usage"] == [{"type": "CPU", "id": 0, "byte_size": 1234}]


def test_it_is_an_observer_of_the_real_batcher() -> None:
    counted = statistics()
    counted.batch_ran(BatchReport(2, 1, 10, 20, 30, CloseReason.IDLE_RUNNER))
    counted.run_failed(2, 1, ValueError("x"), "detail")
    counted.dropped(DropReason.EXPIRED)
    counted.crashed(RuntimeError("x"))
    counted.request_done(100, Answer({}, BatcherTiming(1, 10, 20, 30), 2).timing)
    assert (counted.runs_failed, counted.drops["expired"], counted.crashes) == (1, 1, 1)
    assert counted.close_reasons["idle_runner"] == 1


def test_every_close_reason_of_the_batcher_is_there_from_the_start() -> None:
    assert set(CLOSE_REASONS) == {reason.value for reason in CloseReason}
    assert statistics().close_reasons.keys() == set(CLOSE_REASONS)


def test_triton_s_own_message_takes_the_fields_that_are_not_lists() -> None:
    counted = statistics()
    counted.memory_bytes = 5
    counted.request_done(5, Timing())
    counted.batch_ran(Batch())
    read = json_format.ParseDict(counted.to_triton(), service_pb2.ModelStatistics())
    assert read.inference_stats.compute_infer.ns == 3_000_000
    assert read.batch_stats[0].batch_size == 4
    assert read.memory_usage[0].byte_size == 5


def test_a_model_starts_without_an_active_version_and_without_swaps() -> None:
    counted = ModelStatistics("digits")
    counted.swaps["swapped"] += 1
    assert (counted.active, counted.swaps["swapped"], counted.swaps["refused"]) == (None, 1, 0)
