"""Every metric name, with its type and help text, in the order in which they are written out.

`nv_*` names, labels and units are Triton's, verbatim, because existing dashboards read them; `retort_*` are ours.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Name(NamedTuple):
    """One metric family: its exact name, its Prometheus type and one line of help."""

    text: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str


REQUEST_SUCCESS = Name("nv_inference_request_success", "counter", "Inference requests answered")
REQUEST_FAILURE = Name("nv_inference_request_failure", "counter", "Inference requests failed, by reason")
INFERENCE_COUNT = Name("nv_inference_count", "counter", "Rows inferred")
EXEC_COUNT = Name("nv_inference_exec_count", "counter", "Batches run")
REQUEST_US = Name("nv_inference_request_duration_us", "counter", "Time that answered requests took, microseconds")
QUEUE_US = Name("nv_inference_queue_duration_us", "counter", "Time that answered requests waited, microseconds")
INPUT_US = Name("nv_inference_compute_input_duration_us", "counter", "Time spent on preparing inputs, microseconds")
INFER_US = Name("nv_inference_compute_infer_duration_us", "counter", "Time spent in the model, microseconds")
OUTPUT_US = Name("nv_inference_compute_output_duration_us", "counter", "Time spent on taking outputs, microseconds")
PENDING = Name("nv_inference_pending_request_count", "gauge", "Requests that wait in the queue")
CACHE_HITS = Name("nv_cache_num_hits_per_model", "counter", "Requests answered from the response cache")
CACHE_MISSES = Name("nv_cache_num_misses_per_model", "counter", "Requests not found in the response cache, then run")
CACHE_HIT_US = Name("nv_cache_hit_duration_per_model", "counter", "Time spent on finding answers, microseconds")
CACHE_MISS_US = Name(
    "nv_cache_miss_duration_per_model", "counter", "Time spent on not finding answers and keeping them, microseconds"
)
LOAD_S = Name("nv_model_load_duration_secs", "gauge", "How long the last load took, seconds")
CPU_UTILIZATION = Name("nv_cpu_utilization", "gauge", "Share of all cores in use since the last scrape, 0 to 1")
CPU_MEMORY_TOTAL = Name("nv_cpu_memory_total_bytes", "gauge", "Memory of the machine, bytes")
CPU_MEMORY_USED = Name("nv_cpu_memory_used_bytes", "gauge", "Memory of the machine in use, bytes")

REQUEST_S = Name("retort_request_seconds", "histogram", "Time from a request's bytes to its answer's, per request")
QUEUE_S = Name("retort_queue_seconds", "histogram", "Wait in the queue, per request")
INPUT_S = Name("retort_compute_input_seconds", "histogram", "Preparing inputs, per batch")
INFER_S = Name("retort_compute_infer_seconds", "histogram", "The model's run, per batch")
OUTPUT_S = Name("retort_compute_output_seconds", "histogram", "Taking outputs, per batch")
BATCH_ROWS = Name("retort_batch_rows", "histogram", "Rows of a batch that ran")
BATCH_REQUESTS = Name("retort_batch_requests", "histogram", "Requests of a batch that ran")
BATCH_CLOSED = Name("retort_batch_closed", "counter", "Batches by why they were closed")
RUN_FAILED = Name("retort_run_failed", "counter", "Runs that raised or were given up")
DROPPED = Name("retort_dropped", "counter", "Requests taken out of the queue before they ran, by reason")
REFUSED = Name("retort_refused", "counter", "Requests that were not let into the queue, by reason")
CRASHED = Name("retort_batcher_crashed", "counter", "Times the batcher's loop raised and was restarted")
NON_FINITE = Name("retort_non_finite_outputs", "counter", "Outputs that held NaN or infinity")
SEQUENCES_OPEN = Name("retort_sequences_open", "gauge", "Sequences that are open, those that wait for a place included")
SEQUENCES_STARTED = Name("retort_sequences_started", "counter", "Sequences begun, restarts included")
SEQUENCES_ENDED = Name("retort_sequences_ended", "counter", "Sequences ended by their end, a restart or the server")
SEQUENCES_EXPIRED = Name("retort_sequences_expired", "counter", "Sequences forgotten after too long without a request")
SWAPS = Name("retort_swaps", "counter", "Swaps and rollbacks by outcome")
ACTIVE = Name("retort_active_version", "gauge", "1 for the version that answers when the client names none")
MODELS = Name("retort_models", "gauge", "Models by how they stand")
REMOTE_RETRIES = Name("retort_remote_retries", "counter", "Calls of a remote server made again, its connection broken")
PROCESS_BYTES = Name("retort_process_resident_bytes", "gauge", "Memory of the processes of an isolated version, bytes")
PROCESS_RESTARTS = Name("retort_process_restarts", "counter", "Processes of an isolated version that replaced another")
CERTIFICATE_S = Name("retort_certificate_seconds_left", "gauge", "Until the certificate in use ends; below 0 after")
RESPONSES = Name("retort_http_responses", "counter", "HTTP answers by status code")
CALLS = Name("retort_grpc_calls", "counter", "gRPC calls, and requests on streams, by the code that ended them")
KEY_REQUESTS = Name("retort_key_requests", "counter", 'Requests by the holder of their key, "" for nobody\'s')

# Label values that are written from the start, at zero, so that a rate over them has no gap.
FAILURE_REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
DROP_REASONS = ("expired", "abandoned")
REFUSAL_REASONS = ("full", "overload", "deadline", "timeout")
SWAP_OUTCOMES = (
    *("swapped", "rolled_back", "forced", "refused", "failed", "superseded"),
    *("reverted", "revert_failed"),
)
STANDINGS = ("ready", "loading", "waiting", "unavailable")  # waiting: for its turn at the start
STATUS_CODES = (200, 400, 401, 403, 404, 408, 409, 413, 429, 431, 500, 503)
GRPC_CODES = (
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL"),
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"),
)
CLOSE_REASONS = ("full", "idle_runner", "delay", "shape_change", "deadline", "drain")
