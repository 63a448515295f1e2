"""How far the receive windows of one end's streams go, and what they take of the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from towline.wire.frames import Kind
from towline.wire.state import StreamState

if TYPE_CHECKING:
    from towline.wire.budget import Budget

# The first growth is to so many initial windows, so that a megabyte takes two flights.
FIRST_GROWTH = 16
# A reader that keeps up gets this part of what is left of the budget at once: doubling alone would
# take another round trip of a long path for each step.
PART = 4
# While trust for so many first growths is left, few streams have taken any: one that carries a
# connection has its first growth as it begins, and saves the round trip of asking for it.
PLENTY = 8
_CONNECTIONS = frozenset((Kind.TCP, Kind.INCOMING))
# So many are to be read before a reader counts as one; kernels take less than that.
PROOF = 8


class Windows:
    """Windows begin with `initial` bytes and grow, by what `budget` has, to `most` bytes."""

    def __init__(self, initial: int, most: int, budget: Budget) -> None:
        self._initial = initial
        self._most = most
        self._budget = budget

    def begin(self, kind: Kind, *, ours: bool) -> StreamState:
        """Return the state of a new stream."""
        return StreamState(
            self._initial, self._initial * PROOF, ours=ours, connection=kind in _CONNECTIONS
        )

    def widen(self, state: StreamState) -> int:
        """Let a connection begin with more, if there is plenty; return what is to be granted."""
        if not state.connection or state.eof_received:
            return 0
        plenty = self._budget.trust >= PLENTY * FIRST_GROWTH * self._initial
        return self._grow(state) if plenty else 0

    def consumed(self, state: StreamState, size: int) -> int:
        """Note that the user is done with so many bytes; return what is to be granted now."""
        if state.eof_received:
            before = self._share(state)
            state.window -= size
            self._release(state, before)
            return 0
        if state.unproven:
            state.unproven = max(0, state.unproven - size)
            if not state.unproven:
                self._budget.trust += state.trusted
                state.trusted = 0
        credit = state.free(size)
        return credit + self._grow(state) if state.blocked else credit

    def blocked(self, state: StreamState) -> int:
        """Note that the window holds the sender up; return what is to be granted now."""
        state.blocked = True
        return self._grow(state)

    def take_back(self, state: StreamState, returned: int) -> None:
        """Note that the peer has returned credit."""
        before = self._share(state)
        state.take_back(returned, self._initial)
        self._release(state, before)

    def end(self, state: StreamState) -> None:
        """Note that the peer sends no more."""
        before = self._share(state)
        state.end()
        self._release(state, before)

    def drop(self, state: StreamState) -> None:
        """Note that nothing is held for a stream any more."""
        before = self._share(state)
        state.window = 0
        self._release(state, before)

    def _grow(self, state: StreamState) -> int:
        """Enlarge the window, as far as may be, if the reader keeps up; return what to grant."""
        if not state.keeps_up():
            return 0
        first = self._initial * FIRST_GROWTH
        further = max(2 * state.window, first, self._budget.growth // PART)
        goal = first if state.unproven else further
        wanted = min(goal, self._most) - state.window
        if wanted <= 0:
            return 0
        growth = self._budget.take(wanted, self._share(state), on_trust=state.unproven > 0)
        if state.unproven:
            state.trusted += growth
        if not growth:
            return 0
        state.blocked = False
        return state.grow(growth)

    def _share(self, state: StreamState) -> int:
        return max(0, state.window - self._initial)

    def _release(self, state: StreamState, before: int) -> None:
        """Give back what a window took before and does not any more."""
        share = self._share(state)
        trusted = min(state.trusted, share)
        self._budget.give_back(before - share, on_trust=state.trusted - trusted)
        state.trusted = trusted
