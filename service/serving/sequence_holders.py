"""Which version of a model goes on with a sequence: the one that began it, even if another has become active since.

A state means something to the version that made it alone, so that a swap never hands one on. Knows nothing of leases.
"""

from __future__ import annotations

from weakref import WeakSet

from service.core.contract import SequenceStep
from service.serving.servable import Servable


class SequenceHolders:
    """The stateful versions of one model that are not closed, those that drain included."""

    def __init__(self) -> None:
        self._servables: WeakSet[Servable] = WeakSet()  # whoever drains one holds it

    def add(self, servable: Servable) -> None:
        """Takes note of a version that was loaded; one without state holds no sequences."""
        if servable.sequencer is not None:
            self._servables.add(servable)

    def holder(self, leased: Servable, step: SequenceStep, *, version: str | None = None) -> Servable:
        """Who answers a request: `leased`, unless its sequence is open in another.

        A request that starts a sequence goes to `leased`, and ends what is open under its id elsewhere.

        Args:
            leased: who would answer it without its sequence.
            step: its sequence.
            version: the id that the request names, of which a reload may have left one to drain; None for any.
        """
        if leased.sequencer is not None and leased.sequencer.holds(step.id):
            return leased
        for servable in self._servables:
            sequencer = servable.sequencer
            if sequencer is None or servable is leased or version not in (None, servable.version):
                continue
            if sequencer.holds(step.id):
                if not step.start:
                    return servable
                sequencer.end(step.id)
        return leased

    def open_in(self, version: str) -> int:
        """Sequences that are open in a version, those that an older load of it still holds included."""
        held = (servable.sequencer for servable in self._servables if servable.version == version)
        return sum(len(sequencer) for sequencer in held if sequencer is not None)

    def end_draining(self) -> None:
        """Ends what is open in versions that drain: whoever waits for them has no half a minute."""
        for servable in self._servables:
            if servable.holds_sequences and servable.sequencer is not None:
                servable.sequencer.end_all()

    def end_all(self) -> None:
        """Ends every open sequence of the model: it is unloaded, or the server shuts down."""
        for servable in self._servables:
            if servable.sequencer is not None:
                servable.sequencer.end_all()
