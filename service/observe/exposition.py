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
    return "".join(pieces(families)).encode()


def pieces(families: Iterable[Metric]) -> Iterator[str]:
    """The same piece by piece; a family may come in parts, one behind the other."""
    told, escaped = "", _Escaped()
    for family in families:
        if family.samples:
            head = _head(family) if family.name != told else ""
            yield head + _samples(family, escaped)
            told = family.name


def number(value: float) -> str:
    """A sample's value, or a bucket's bound, as Prometheus reads it back without loss."""
    return "+Inf" if value == math.inf else repr(value)


class _Escaped(dict[str, str]):
    """Label values as they are written; one scrape has few of them, each thousands of times."""

    def __missing__(self, value: str) -> str:
        self[value] = written = value.translate(_VALUE_ESCAPES)
        return written


def _head(family: Metric) -> str:
    name = family.name if family.type == "histogram" else family.samples[0].name
    kind = family.type if family.type != "unknown" else "untyped"
    return f"# HELP {name} {family.documentation.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n"


def _samples(family: Metric, escaped: _Escaped) -> str:
    return "".join(
        [f"{sample.name}{_labels(sample.labels, escaped)} {number(sample.value)}\n" for sample in family.samples]
    )


def _labels(labels: Mapping[str, str], escaped: _Escaped) -> str:
    written = ",".join([f'{name}="{escaped[value]}"' for name, value in labels.items()])
    return f"{{{written}}}" if written else ""
