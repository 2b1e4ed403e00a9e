"""Why there is nothing that a request could hold while it is answered. Knows nothing of how versions come and go."""

from __future__ import annotations

from service.core.errors import NotFound, NotReady, RetortError
from service.serving.entry import Entry
from service.serving.servable import State


def why_not(entry: Entry, version: str | None) -> RetortError:
    """The error for a request that `version` of the model cannot answer, or its active one where that is None."""
    if version is None:
        return NotReady(f"model '{entry.name}' is not ready: {entry.why or 'it has no active version'}")
    slot = entry.slots.get(version)
    named = f"version '{version[:100]}' of model '{entry.name}'"
    if slot is None:
        return NotFound(f"there is no {named}")
    if slot.servable is None and slot.state is State.NOT_LOADED:
        return NotFound(f"{named} is not loaded" + (f": {slot.reason}" if slot.reason else ""))
    state = slot.servable.state if slot.servable is not None else slot.state
    return NotReady(f"{named} is {state.value.lower()}" + (f": {slot.reason}" if slot.reason else ""))
