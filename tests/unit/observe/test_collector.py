from __future__ import annotations

import re
from pathlib import Path

from service.batching.contract import DropReason, RefusalReason
from service.observe import names
from service.observe.collector import StatisticsCollector
from service.observe.exposition import exposition
from service.observe.machine import Machine
from service.observe.names import SWAP_OUTCOMES, Name
from service.observe.statistics import ModelStatistics, VersionStatistics
from tests.unit.observe.batches import Batch, Timing

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# Verbatim from the protocol document: what existing dashboards read.
DASHBOARD_NAMES = {
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
    "nv_inference_pending_request_count",
    "nv_model_load_duration_secs",
}


def busy_version() -> VersionStatistics:
    version = VersionStatistics("digits", "1", pending=lambda: 7)
    version.load_s = 1.25
    version.request_done(5_000_000, Timing(queue_ns=1_500))
    version.request_failed("REJECTED", 10)
    version.batch_ran(Batch(rows=3, requests=2))
    version.run_failed()
    version.dropped("expired")
    version.crashed(RuntimeError())
    version.non_finite = 2
    version.caches, version.sequences.open = True, lambda: 1
    version.retried()
    version.processes = Processes()
    return version


class Processes:
    resident_bytes = 5000
    restarts = 3


def scrape(proc: Path, *versions: VersionStatistics) -> tuple[str, Samples]:
    model = ModelStatistics("digits")
    model.active = "1"
    model.swaps["refused"] += 3
    collector = StatisticsCollector(
        lambda: versions,
        lambda: [model],
        {200: 5, 404: 1},
        {"OK": 2},
        Machine(proc),
        {("web", "accepted"): 4},
        lambda: 1.5,
    )
    text = exposition(collector.collect()).decode()
    return text, dict(parsed(line) for line in text.splitlines() if not line.startswith("#"))


def parsed(line: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], float]:
    """A sample by its exact name; prometheus_client's own parser would add `_total` to the counters."""
    match = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line)
    assert match is not None, line
    labels = re.findall(r'(\w+)="([^"]*)"', match[2] or "")
    return (match[1], tuple(sorted(labels))), float(match[3])


def one(samples: Samples, name: str, **more: str) -> float:
    return samples[name, tuple(sorted({"model": "digits", "version": "1", **more}.items()))]


def test_dashboard_names_are_written_verbatim_with_their_type(tmp_path: Path) -> None:
    text, samples = scrape(tmp_path, busy_version())
    written = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}
    assert written.keys() >= DASHBOARD_NAMES
    assert {name for name, _ in samples} >= DASHBOARD_NAMES
    assert all(written[name] == "counter" for name in DASHBOARD_NAMES if "count" not in name and "secs" not in name)
    assert "_total" not in text


def test_every_name_in_the_list_of_names_can_come_out(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1 0 0 1 0 0 0 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable: 5 kB\n")
    machine_names = {names.CPU_UTILIZATION.text}
    text, _ = scrape(tmp_path, busy_version())
    known = {value.text for value in vars(names).values() if isinstance(value, Name)}
    written = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert written == known - machine_names


def test_counters_have_triton_s_units(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path, busy_version())
    assert one(samples, "nv_inference_request_success") == 1
    assert one(samples, "nv_inference_count") == 3
    assert one(samples, "nv_inference_exec_count") == 1
    assert one(samples, "nv_inference_request_duration_us") == 5_000
    assert one(samples, "nv_inference_queue_duration_us") == 1
    assert one(samples, "nv_inference_compute_infer_duration_us") == 3_000
    assert one(samples, "nv_inference_pending_request_count") == 7
    assert one(samples, "nv_model_load_duration_secs") == 1.25


def test_reasons_are_there_at_zero_before_anything_failed(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path, VersionStatistics("digits", "1"))
    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        assert one(samples, "nv_inference_request_failure", reason=reason) == 0
    for reason in ("full", "idle_runner", "delay", "shape_change", "deadline", "drain"):
        assert one(samples, "retort_batch_closed", reason=reason) == 0


def test_what_happened_is_counted_by_reason(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path, busy_version())
    assert one(samples, "nv_inference_request_failure", reason="REJECTED") == 1
    assert one(samples, "retort_batch_closed", reason="full") == 1
    assert one(samples, "retort_dropped", reason="expired") == 1
    assert one(samples, "retort_run_failed") == 1
    assert one(samples, "retort_batcher_crashed") == 1
    assert one(samples, "retort_non_finite_outputs") == 2
    assert one(samples, "retort_remote_retries") == 1
    assert one(samples, "retort_process_resident_bytes") == 5000
    assert one(samples, "retort_process_restarts") == 3
    assert samples["retort_swaps", (("model", "digits"), ("outcome", "refused"))] == 3
    assert samples["retort_http_responses", (("code", "404"),)] == 1


def test_histograms_are_in_seconds_and_end_with_infinity(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path, busy_version())
    assert one(samples, "retort_request_seconds_sum") == 0.005
    assert one(samples, "retort_request_seconds_count") == 1
    assert one(samples, "retort_request_seconds_bucket", le="+Inf") == 1
    assert one(samples, "retort_request_seconds_bucket", le="0.005") == 1
    assert one(samples, "retort_request_seconds_bucket", le="0.0025") == 0
    assert one(samples, "retort_batch_rows_bucket", le="2") == 0
    assert one(samples, "retort_batch_rows_bucket", le="4") == 1
    assert one(samples, "retort_batch_requests_sum") == 2


def test_each_figure_of_a_version_is_its_own(tmp_path: Path) -> None:
    version = VersionStatistics("digits", "1")
    version.request_done(9_000_000, Timing(1_000_000, 2_000_000, 3_000_000, 4_000_000))
    version.batch_ran(Batch(6, 5, 2_000_000, 3_000_000, 4_000_000))
    version.runs_failed, version.crashes, version.non_finite, version.remote_retries = 10, 11, 12, 13
    version.processes = Processes()
    _, samples = scrape(tmp_path, version)
    for what, ms in {"request": 9, "queue": 1, "compute_input": 2, "compute_infer": 3, "compute_output": 4}.items():
        assert one(samples, f"retort_{what}_seconds_sum") == ms / 1e3, what
        assert one(samples, f"nv_inference_{what}_duration_us") == ms * 1e3, what
    assert [one(samples, f"retort_batch_{what}_sum") for what in ("rows", "requests")] == [6, 5]
    counted = ("run_failed", "batcher_crashed", "non_finite_outputs", "remote_retries")
    assert [one(samples, f"retort_{name}") for name in counted] == [10, 11, 12, 13]
    assert [one(samples, f"retort_process_{name}") for name in ("resident_bytes", "restarts")] == [5000, 3]


def test_the_active_version_is_one_and_a_model_without_one_has_none(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path, busy_version())
    assert one(samples, "retort_active_version") == 1
    idle = ModelStatistics("other")
    collector = StatisticsCollector(lambda: [], lambda: [idle], {}, {}, Machine(tmp_path), {})
    assert b"retort_active_version{" not in exposition(collector.collect())


def test_models_are_counted_by_how_they_stand(tmp_path: Path) -> None:
    known = [ModelStatistics(name) for name in "abcd"]
    for model, standing in zip(known, ("ready", "ready", "loading", "unavailable"), strict=True):
        model.standing = standing
    text = exposition(StatisticsCollector(lambda: [], lambda: known, {}, {}, Machine(tmp_path), {}).collect()).decode()
    assert [line for line in text.splitlines() if line.startswith("retort_models")] == [
        'retort_models{state="ready"} 2',
        'retort_models{state="loading"} 1',
        'retort_models{state="waiting"} 0',
        'retort_models{state="unavailable"} 1',
    ]


def test_a_family_of_many_versions_comes_in_parts_and_is_one_in_the_text(tmp_path: Path) -> None:
    versions = [VersionStatistics(f"m{number}", "1") for number in range(50)]
    collector = StatisticsCollector(lambda: versions, lambda: [], {}, {}, Machine(tmp_path), {})
    most = max(len(family.samples) for family in collector.collect())
    text = exposition(collector.collect()).decode().splitlines()
    assert most < len(text) / 30, "a part of a family holds the loop up for long"
    assert text.count("# TYPE nv_inference_count counter") == 1
    begin = text.index("# TYPE nv_inference_count counter") + 1
    assert text[begin : begin + 50] == [f'nv_inference_count{{model="m{n}",version="1"}} 0' for n in range(50)]
    assert len([line for line in text if line.startswith("# TYPE retort_request_seconds ")]) == 1


def test_what_has_not_happened_yet_is_written_as_zero(tmp_path: Path) -> None:
    idle, version = ModelStatistics("other"), VersionStatistics("other", "1")
    text = exposition(
        StatisticsCollector(lambda: [version], lambda: [idle], {}, {}, Machine(tmp_path), {}).collect()
    ).decode()
    for outcome in SWAP_OUTCOMES:
        assert f'retort_swaps{{model="other",outcome="{outcome}"}} 0' in text
    for reason in RefusalReason:
        assert f'retort_refused{{model="other",version="1",reason="{reason}"}} 0' in text
    for reason in DropReason:
        assert f'retort_dropped{{model="other",version="1",reason="{reason}"}} 0' in text


def test_a_version_that_never_loaded_has_no_load_time(tmp_path: Path) -> None:
    text, _ = scrape(tmp_path, VersionStatistics("digits", "1"))
    assert "nv_model_load_duration_secs" not in text


def test_the_machine_is_part_of_the_scrape(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1 0 0 1 0 0 0 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable: 4 kB\n")
    collector = StatisticsCollector(lambda: [], lambda: [], {}, {}, Machine(tmp_path), {})
    (tmp_path / "stat").write_text("cpu 4 0 0 2 0 0 0 0\n")
    text = exposition(collector.collect()).decode()
    assert "nv_cpu_utilization 0.75\n" in text
    assert "nv_cpu_memory_total_bytes 10240\n" in text
    assert "nv_cpu_memory_used_bytes 6144\n" in text


def test_cache_and_sequences_are_written_for_the_versions_that_have_them(tmp_path: Path) -> None:
    plain, kept = VersionStatistics("digits", "1"), VersionStatistics("digits", "2")
    kept.caches = True
    kept.cache_hit.add(5_000)
    kept.cache_miss.add(7_900)
    kept.sequences.open = lambda: 3
    kept.sequences.started, kept.sequences.ended, kept.sequences.expired = 9, 4, 2
    _, samples = scrape(tmp_path, plain, kept)
    expected = {
        "nv_cache_num_hits_per_model": 1,
        "nv_cache_num_misses_per_model": 1,
        "nv_cache_hit_duration_per_model": 5,
        "nv_cache_miss_duration_per_model": 7,
        "retort_sequences_open": 3,
        "retort_sequences_started": 9,
        "retort_sequences_ended": 4,
        "retort_sequences_expired": 2,
    }
    for name, value in expected.items():
        found = {key: number for key, number in samples.items() if key[0] == name}
        assert found == {(name, (("model", "digits"), ("version", "2"))): value}


def test_the_time_left_of_a_certificate_is_a_sample_where_there_is_one(tmp_path: Path) -> None:
    _, samples = scrape(tmp_path)
    assert samples["retort_certificate_seconds_left", ()] == 1.5
    plain = StatisticsCollector(lambda: [], lambda: [], {}, {}, Machine(tmp_path), {})
    assert "\nretort_certificate_seconds_left" not in exposition(plain.collect()).decode()
