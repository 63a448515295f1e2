"""The session's TUN device: made by the helper, gone with its last descriptor (tun(4)).

The standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from towline.redirect import ruleset
from towline.redirect.rtnetlink import Rtnetlink

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from towline.redirect.messages import IPNetwork

CLONE_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000

# Nothing is sent on a wire from here, so a packet is as large as IP lets it be: no fragments.
_MTU = 65535
# A SYN that finds the queue full is lost for a second; the default of 500 is soon full.
_QUEUE_PACKETS = 4096

# An address of its own makes the kernel choose it as source, whatever else the machine has.
# The blocks of RFC 5737 should be nobody's, and yet some networks use them: the first that this
# machine has no route to. The ULA's identifier (RFC 4193) spells "towline".
_IPV4_BASES = tuple(
    ipaddress.IPv4Address(text) for text in ("192.0.2.1", "198.51.100.1", "203.0.113.1")
)
_IPV6_BASE = ipaddress.IPv6Address("fd74:6f77:6c69:6e65::1")
# A default route may come as two halves.
_DEFAULT_PREFIX = 1

# Between ranges that are the same the lower metric wins: the newer session's. All are below
# those that network managers give to wires (100 and up).
_METRIC_BASE = ruleset.MAX_RANK + 1

_IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")


class NoFreeRankError(Exception):
    """There are as many sessions as there can be."""


class NoFreeAddressError(Exception):
    """This machine has routes to all the addresses that a device could have."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that exists while somebody holds `descriptor`."""

    descriptor: int
    rank: int
    index: int

    @property
    def name(self) -> str:
        """The interface's name."""
        return ruleset.device(self.rank)


def create(but: Collection[int] = ()) -> Device:
    """Make the device of the first of the free ranks, `but` for some.

    Raises OSError when the kernel has no TUN, and :class:`NoFreeRankError`.
    """
    descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for rank in free_ranks(_interfaces()):
            if rank not in but and _claim(descriptor, ruleset.device(rank)):
                return Device(descriptor, rank, socket.if_nametoindex(ruleset.device(rank)))
        raise NoFreeRankError
    except BaseException:
        os.close(descriptor)
        raise


def configure(device: Device) -> bool:
    """Give the device its addresses and bring it up; returns whether it has IPv6.

    Raises OSError for what the kernel refuses, and :class:`NoFreeAddressError`.
    """
    with Rtnetlink() as kernel:
        has_ipv6 = _prepare_ipv6(device.name)
        kernel.set_up(device.index, _MTU, _QUEUE_PACKETS)
        kernel.add_address(device.index, _free_address(kernel, device.rank))
        if has_ipv6:
            kernel.add_address(device.index, _IPV6_BASE + device.rank)
        return has_ipv6


def add_routes(device: Device, networks: Sequence[IPNetwork]) -> dict[IPNetwork, OSError]:
    """Lead ranges to the device; gives what the kernel says of those that it does not lead."""
    with Rtnetlink() as kernel:
        return kernel.add_routes(device.index, networks, _METRIC_BASE - device.rank)


def remove_routes(device: Device, networks: Sequence[IPNetwork]) -> dict[IPNetwork, OSError]:
    """Lead ranges to the device no more; gives what the kernel says of those that stay."""
    with Rtnetlink() as kernel:
        return kernel.remove_routes(device.index, networks, _METRIC_BASE - device.rank)


def free_ranks(interfaces: list[str]) -> list[int]:
    """List the ranks that a new session may have, in order of preference.

    Those above every session's come first, so that the newest is the greatest. When there are
    none left, as ranks only rise while sessions overlap, any that is free will do.
    """
    taken = {int(found[1]) for name in interfaces if (found := re.fullmatch(r"tow(\d+)", name))}
    free = [rank for rank in range(ruleset.MAX_RANK + 1) if rank not in taken]
    above = max(taken, default=-1)
    return sorted(free, key=lambda rank: (rank < above, rank))


def _free_address(kernel: Rtnetlink, rank: int) -> ipaddress.IPv4Address:
    for base in _IPV4_BASES:
        prefix = kernel.matching_prefix(base + rank)
        if prefix is None or prefix <= _DEFAULT_PREFIX:
            return base + rank
    raise NoFreeAddressError("192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24 are all in use")


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _claim(descriptor: int, name: str) -> bool:
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        if error.errno == errno.EBUSY:  # another session was faster
            return False
        raise
    return True


def _prepare_ipv6(name: str) -> bool:
    """Turn on IPv6 for the device, and off all that the kernel would say there by itself."""
    loopback, own = _IPV6_SETTINGS / "lo", _IPV6_SETTINGS / name
    try:
        if (loopback / "disable_ipv6").read_text().strip() != "0":
            return False  # without ::1 there is nowhere to redirect to
    except FileNotFoundError:  # ipv6.disable=1
        return False
    with suppress(OSError):  # read-only in some containers
        (own / "disable_ipv6").write_text("0")
    for setting, value in (("accept_ra", "0"), ("autoconf", "0"), ("addr_gen_mode", "1")):
        with suppress(OSError):
            (own / setting).write_text(value)
    return (own / "disable_ipv6").read_text().strip() == "0"
