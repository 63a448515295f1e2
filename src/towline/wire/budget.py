"""What the windows of one end's streams may take together, beyond the first one of each."""

from __future__ import annotations

GROWTH_BYTES = 64 * 1024 * 1024
TRUST_BYTES = 16 * 1024 * 1024

# Of what is left on trust a stream gets this part at a time.
_TRUSTED_PART = 16


class Budget:
    """Bytes that windows may grow by; to be shared by the multiplexers of a link's transports.

    No stream takes more than it leaves for all others, so something is left for the next one.
    Nobody knows of a reader that has read little whether it reads at all: kernels take some hundred
    KiB for it. It is trusted with something, but all such readers together with no more than
    `trust` of `growth`, lest those that stall from the beginning take what others could use.

    What is taken is taken of the budget that this one is `within` as well, with others like it.
    There, too, none takes more than it leaves for all others.
    """

    def __init__(
        self,
        growth: int = GROWTH_BYTES,
        trust: int = TRUST_BYTES,
        *,
        within: Budget | None = None,
    ) -> None:
        self._size = growth
        self._within = within
        self.growth = growth
        """What is left."""
        self.trust = trust
        """What is left of that for readers that have read little."""

    def take(self, wanted: int, has: int, *, on_trust: bool) -> int:
        """Take bytes for a stream that has some; return how many there are of those wanted."""
        taken = max(0, min(wanted, (self.growth - has) // 2))
        if on_trust:
            taken = min(taken, self.trust // _TRUSTED_PART)
        if self._within is not None:
            taken = self._within.take(taken, self._size - self.growth, on_trust=False)
        if on_trust:
            self.trust -= taken
        self.growth -= taken
        return taken

    def give_back(self, size: int, *, on_trust: int) -> None:
        """Return bytes that were taken, and how many of them on trust."""
        self.growth += size
        self.trust += on_trust
        if self._within is not None:
            self._within.give_back(size, on_trust=0)
