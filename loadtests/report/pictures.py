"""Which pictures a report has, in their order: those for which the document knows enough."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.report.drawing import Look, Picture, looks
from loadtests.report.picture_distribution import distribution_picture
from loadtests.report.picture_quality import quality_picture
from loadtests.report.picture_rate import rate_picture
from loadtests.report.picture_ratios import ratios_picture
from loadtests.report.picture_rounds import rounds_picture
from loadtests.report.picture_timeline import timeline_picture
from loadtests.report.schema import Document

_ALL = (ratios_picture, rate_picture, distribution_picture, quality_picture, timeline_picture, rounds_picture)


def pictures(document: Document) -> tuple[Picture, ...]:
    """All that can be drawn of this document."""
    return tuple(_drawn(document))


def _drawn(document: Document) -> Iterator[Picture]:
    shown: dict[str, Look] = looks(
        [one.label for one in document.versions] + [one.version for one in (*document.blocks, *document.timeline)]
    )
    for make in _ALL:
        picture = make(document, shown)
        if picture is not None:
            yield picture
