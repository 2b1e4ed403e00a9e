"""Which version answers, which are loaded, and what has to change: pure functions of a snapshot.

The same snapshot gives the same answer; nothing here reads a file, a clock or a servable.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from service.repository.config_tensors import Latest
from service.repository.state_file import ActiveRecord

Residency = Literal["all", "active"] | Latest | Sequence[str]


def choose_active(versions: Sequence[str], configured: str | None, record: ActiveRecord | None) -> str | None:
    """The version that answers when the client names none.

    What the state file remembers, unless `active:` in model.yaml changed since it was written; else `active:`;
    else the highest numeric id; else the first id.

    Args:
        versions: ids on disk, in order.
        configured: `active:` of model.yaml.
        record: the model's entry in the state file.

    Returns:
        An id, which `configured` may name without its being on disk; None when there is no version at all.
    """
    if record is not None and record.config_active == configured and record.active in versions:
        return record.active
    if configured is not None:
        return configured
    numeric = [version for version in versions if version.isdecimal()]
    if numeric:
        return max(numeric, key=int)
    return versions[0] if versions else None


def resident(versions: Sequence[str], residency: Residency, active: str | None) -> list[str]:
    """The versions that should be loaded: those of `versions:` in model.yaml, and always the active one."""
    if residency == "all":
        wanted: Collection[str] = versions
    elif residency == "active":
        wanted = ()
    elif isinstance(residency, Latest):
        numbers = sorted((version for version in versions if version.isdecimal()), key=int)
        wanted = numbers[-residency.latest :]
    else:
        wanted = residency
    listed = [version for version in versions if version in wanted or version == active]
    if active is not None and active not in listed:
        listed.append(active)
    return listed


@dataclass(frozen=True, slots=True)
class Plan:
    """What a (re)load of one model has to do: versions to load or to hold against their files, and to retire."""

    load: tuple[str, ...]
    retire: tuple[str, ...]


def reload_plan(wanted: Sequence[str], loaded: Collection[str]) -> Plan:
    """Every wanted version is (re)read, in the order given; a loaded one that is not wanted is retired."""
    return Plan(tuple(wanted), tuple(version for version in loaded if version not in wanted))
