"""Metric families as Prometheus' text format 0.0.4, every name verbatim.

prometheus_client's own writer appends `_total` to a counter's HELP and TYPE lines, which would leave Triton's
counters (`nv_inference_request_success`) untyped. Knows no metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_VALUE_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def exposition(families: Iterable[Metric]) -> bytes:
    """The text of `families`, in their order; one without samples is left out."""
    return "".join(line for family in families if family.samples for line in _lines(family)).encode()


def number(value: float) -> str:
    """A sample's value, or a bucket's bound, as Prometheus reads it back without loss."""
    return "+Inf" if value == math.inf else repr(value)


def _lines(family: Metric) -> Iterator[str]:
    name = family.name if family.type == "histogram" else family.samples[0].name
    yield f"# HELP {name} {family.documentation.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {name} {family.type if family.type != 'unknown' else 'untyped'}\n"
    for sample in family.samples:
        yield f"{sample.name}{_labels(sample.labels)} {number(sample.value)}\n"


def _labels(labels: Mapping[str, str]) -> str:
    written = ",".join(f'{name}="{value.translate(_VALUE_ESCAPES)}"' for name, value in labels.items())
    return f"{{{written}}}" if written else ""
