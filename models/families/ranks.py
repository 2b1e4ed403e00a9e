"""Shares the training of a version among several processes, before one of them measures and publishes it.

All of them do what a single process would do; the training loop shares the work. What they leave is the finished
stages on the workbench, so that the same making afterwards finds everything done.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from models.families import registry
from models.families.order import Order


def rehearse(order: Order, version: str) -> None:
    """Does the training of one version in `order.processes` processes; nothing where that is one.

    Raises:
        RankDied: one of the processes died.
        KeyboardInterrupt: they were interrupted.
    """
    if order.processes == 1:
        return
    from models.train.launch import launch  # noqa: PLC0415 - torch's launcher is slow to import

    launch(order.processes, f"{__name__}:take_part", {"order": order.to_json(), "version": version})


def take_part(order: dict[str, Any], version: str) -> None:
    """What each of the processes runs; the first one writes and shows progress."""
    import torch.distributed as dist  # noqa: PLC0415

    from models.families.making import open_bench, published_full  # noqa: PLC0415
    from models.progress import progress_on  # noqa: PLC0415

    asked = Order.from_json(order)
    first = dist.get_rank() == 0
    progress = progress_on(Console(stderr=True, quiet=not first))
    for family in registry.families(asked.name):
        variant = next((one for one in family.variants if one.version == version), None)
        if variant is None and family.version != version:
            continue
        bench = open_bench(asked, family.load(asked.data, asked.work / "data"), progress, keeps=first)
        if variant is None:
            family.full(bench)
            continue
        made = published_full(family, asked.folder)
        if made is not None:
            variant.make(bench, made)
