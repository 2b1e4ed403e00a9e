"""Every known difference from the real Triton, with its reason; docs/howto/triton-differences.md tells the same ones.

A difference that is not here fails `make triton`, and so does a status that is here and no longer different.
"""

from __future__ import annotations

from collections.abc import Mapping

_UNREADABLE = "Triton answers 500 where it cannot read a request; the request is wrong, so ours is 400"
_UNKNOWN = "what is not there is 404 throughout"

# By the name of the bad request: (Triton's status, ours, why).
STATUSES: Mapping[str, tuple[int, int, str]] = {
    **dict.fromkeys(
        (
            "a body that is no JSON",
            "a body that is a list",
            "no inputs",
            "no name",
            "no shape",
            "no datatype",
            "a negative size",
            "a size that is text",
            "too few data",
            "too many data",
            "text among numbers",
            "null among numbers",
            "outputs that are no list",
            "an id that is a number",
            "parameters that are a list",
            "a timeout that is text",
            "a priority below 0",
            "a negative binary size",
        ),
        (500, 400, _UNREADABLE),
    ),
    **dict.fromkeys(
        (
            "statistics of an unknown model",
            "statistics of an unknown version",
            "readiness of an unknown model",
            "readiness of an unknown version",
        ),
        (400, 404, _UNKNOWN),
    ),
    "load of an unknown model": (500, 404, _UNKNOWN),
    "unload of an unknown model": (200, 404, _UNKNOWN),
    "no rows": (400, 200, "a request of no rows has an answer of no rows"),
    "more rows than a batch": (400, 200, "a larger request is run in parts and answered whole"),
    "an output twice": (200, 400, "an answer holds each output once"),
    "a sequence of a model without state": (200, 400, "Triton drops the sequence silently"),
    "an unknown shared memory region": (404, 400, "shared memory is off unless the operator turns it on"),
}

# By document and path: (kind in Triton's, kind in ours, why).
SHAPES: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("metadata", ".batching"): ("", "object", "whether requests are put together, and why not: an addition"),
    ("index", "[].reason"): ("", "string", "Triton leaves an empty reason out"),
    **{
        ("configuration", f"{message}.dynamic_batching.preferred_batch_size[]"): (
            "number",
            "",
            "Triton writes max_batch_size where nobody prefers any; ours stays empty: sizes go by their measured cost",
        )
        for message in ("", ".config")  # over HTTP, and over gRPC
    },
    ("statistics", ".model_stats[].memory_usage[]"): ("", "object", "the Python backend tells no memory use"),
}
COUNTS_WRONG_REQUESTS = (False, True, "a failure is a failure, whoever found it; Triton counts the model's alone")
