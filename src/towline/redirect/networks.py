"""Networks that are asked whether an address is in one of them, however many they are.

The standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from towline.redirect.messages import IPNetwork
    from towline.redirect.packets import IPAddress


class Networks:
    """A set of networks. To look an address up costs as much as there are lengths of prefixes."""

    def __init__(self) -> None:
        self._all: set[IPNetwork] = set()
        # The prefixes as numbers, by version and length.
        self._prefixes: dict[tuple[int, int], set[int]] = {}

    def __iter__(self) -> Iterator[IPNetwork]:
        return iter(self._all)

    def __contains__(self, network: IPNetwork) -> bool:
        """Whether it is one of them; one that is a part of one of them is not."""
        return network in self._all

    def cover(self, address: IPAddress) -> bool:
        """Whether an address is in one of them."""
        number, bits = int(address), address.max_prefixlen
        return any(
            version == address.version and number >> (bits - length) in prefixes
            for (version, length), prefixes in self._prefixes.items()
        )

    def add(self, network: IPNetwork) -> None:
        """Add one; nothing happens when it is there."""
        self._all.add(network)
        key, prefix = _place(network)
        self._prefixes.setdefault(key, set()).add(prefix)

    def discard(self, network: IPNetwork) -> None:
        """Take one out; nothing happens when it is not there."""
        self._all.discard(network)
        key, prefix = _place(network)
        if prefixes := self._prefixes.get(key):
            prefixes.discard(prefix)
            if not prefixes:
                del self._prefixes[key]


def _place(network: IPNetwork) -> tuple[tuple[int, int], int]:
    length = network.prefixlen
    prefix = int(network.network_address) >> (network.max_prefixlen - length)
    return (network.version, length), prefix
