"""Makes and publishes a family: the full version, then each variant, one after the other, each as soon as it is made.

What is published already is left as it is, so that a run that was killed goes on where it was. A variant that cannot
be made is told of and holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from models import assemble
from models.data.splits import Splits
from models.evaluate import gate, measure
from models.families import registry
from models.families.family import Bench, Family, Variant
from models.families.order import Order
from models.families.ranks import rehearse
from models.made import Made
from models.publish import publish_config
from models.workbench import Progress, Workbench
from service.core.cpu import cpu_class
from service.repository.card import Card
from service.repository.layout import Repository


class UnknownVersion(ValueError):
    """A family has no version of this id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one version: its card, or why there is none.

    Attributes:
        version: its id.
        card: None where it could not be made.
        published_before: whether it was left as it was.
        notes: sentences of the appraisal, or the reason why it could not be made.
    """

    version: str
    card: Card | None
    published_before: bool = False
    notes: tuple[str, ...] = ()


def versions(families: Collection[Family]) -> tuple[str, ...]:
    """The ids of all versions, each full version before its variants."""
    return tuple(
        version for family in families for version in (family.version, *(one.version for one in family.variants))
    )


def carry_out(order: Order, progress: Progress, tell: Callable[[Outcome], None]) -> tuple[Outcome, ...]:
    """Makes what is wanted and not there yet, and tells of each version as soon as it is known.

    Raises:
        UnknownVersion: `only` names a version that the family does not have.
        NoData: the data set is not where it should be.
    """
    families = registry.families(order.name)
    check_only(order.only, families)
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        tell(outcome)

    for family in families:
        if not order.only or set(order.only) & set(versions([family])):
            _carry_out(family, order, progress, note)
    publish_config(order.folder, families[0].config)
    return tuple(outcomes)


def check_only(only: Collection[str], families: Collection[Family]) -> None:
    """Refuses ids that no family has.

    Raises:
        UnknownVersion: names the first of them, and those that there are.
    """
    known = versions(families)
    for version in only:
        if version not in known:
            raise UnknownVersion(f"{version!r} is no version of it; there are {', '.join(known)}.")


def _carry_out(family: Family, order: Order, progress: Progress, note: Callable[[Outcome], None]) -> None:
    splits = family.load(order.data, order.work / "data")
    setup = assemble.Setup(
        folder=order.folder,
        sets=assemble.sets(family.data_name, family.source, splits),
        output=family.output,
        licence=family.licence,
        ledger=order.ledger,
        bench=measure.Bench(cpu_class()),
        profile=gate.PROFILES[order.profile],
        runs=order.runs,
        not_verified=family.not_verified,
    )
    bench = open_bench(order, splits, progress)
    made = published_full(family, order.folder)
    if made is None:
        rehearse(order, family.version)
        made = family.full(bench)
    full = assemble.publish_full(made, setup)
    note(Outcome(family.version, full.card, full.reused, full.notes))
    for variant in family.variants:
        if not order.only or variant.version in order.only:
            note(_variant(variant, order, bench, setup, made, full))


def open_bench(order: Order, splits: Splits, progress: Progress, *, keeps: bool = True) -> Bench:
    """What the makers are given: no test set, and stages that depend on the data."""
    seen = {name: part for name, part in splits.parts.items() if name != "test"}
    hashes = {name: part.sha256() for name, part in splits.parts.items()}
    work = Workbench(order.work, progress, {"data": hashes}, keeps=keeps)
    return Bench(seen, work, order.quick, order.processes, order.data)


def published_full(family: Family, folder: Path) -> Made | None:
    """The full version that is published already, which teaches the variants as it is.

    Raises:
        ValueError: what is there is of another making.
    """
    there = _card(folder, family.version)
    if there is None:
        return None
    if there.recipe is None:
        raise ValueError(f"{folder / family.version} is of another making: its card tells no recipe.")
    return Made(family.version, Repository(folder.parent).read_version(folder.name, family.version).onnx, there.recipe)


def _variant(
    variant: Variant, order: Order, bench: Bench, setup: assemble.Setup, made: Made, full: assemble.Published
) -> Outcome:
    there = _card(setup.folder, variant.version)
    if there is not None:
        return Outcome(variant.version, there, published_before=True)
    try:
        if variant.trained:
            rehearse(order, variant.version)
        published = assemble.publish_variant(variant.make(bench, made), setup, full)
    except (ValueError, ArithmeticError) as reason:
        return Outcome(variant.version, None, notes=(str(reason),))
    return Outcome(variant.version, published.card, notes=published.notes)


def _card(folder: Path, version: str) -> Card | None:
    """The card of a version that is published already."""
    if not (folder / version).exists():
        return None
    card = Repository(folder.parent).read_version(folder.name, version).card
    if card is None:
        raise ValueError(f"{folder / version} is of another making: it has no card.")
    return card
