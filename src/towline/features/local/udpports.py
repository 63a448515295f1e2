"""Which UDP ports of this machine programs wait on: no connection can be tried to find out."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

# proc(5): one socket a line, addresses in hexadecimal, each 32 bits of them in the host's order.
_TABLES = {"127.0.0.1": Path("/proc/net/udp"), "::1": Path("/proc/net/udp6")}


def loopbacks(port: int) -> list[str]:
    """The loopback addresses on which a program gets datagrams to the port: IPv4, IPv6 or both."""
    return [address for address, table in _TABLES.items() if _is_bound(table, address, port)]


def _is_bound(table: Path, address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    own = _in_words(socket.inet_pton(family, address))
    bound = {f"{host}:{port:04X}" for host in (own, "0" * len(own))}
    with suppress(OSError):  # no IPv6
        # A socket that is connected gets nothing of others.
        return any(
            words[1] in bound and words[2].endswith(":0000")
            for words in map(str.split, table.read_text().splitlines()[1:])
        )
    return False


def _in_words(address: bytes) -> str:
    """An address as the kernel's table has it."""
    words = memoryview(address).cast("I").tolist()
    return "".join(f"{word:08X}" for word in words)
