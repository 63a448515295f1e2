"""The sockets of a network namespace that some process holds, as /proc/net lists them (proc(5))."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.e2e.trace.snapshot import View, counted

HERE = Path("/proc/thread-self/net")

_INTERNET = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
# Columns of proc(5)'s tables: local and remote address, state, inode.
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9


def view(tables: Path = HERE) -> View:
    """The sockets of the calling thread's network namespace.

    What no process holds any more has no inode: a TCP connection in TIME_WAIT, or one whose
    last words are on their way. The kernel alone keeps it, for a minute, after every program.
    """
    return counted(
        [
            *(line for name in _INTERNET for line in _internet(name, _rows(tables / name))),
            *_unix(_rows(tables / "unix")),
            *_packet(_rows(tables / "packet")),
            *_netlink(_rows(tables / "netlink")),
        ]
    )


def count(tables: Path) -> int:
    """How many TCP and UDP sockets there are that some process holds."""
    names = ("tcp", "tcp6", "udp", "udp6")
    return sum(len(list(_internet(name, _rows(tables / name)))) for name in names)


def _rows(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()[1:]]
    except FileNotFoundError:  # a protocol that this kernel does not have
        return []


def _internet(name: str, rows: Iterable[list[str]]) -> Iterator[str]:
    for row in rows:
        if row[_INODE] != "0":
            yield f"{name} {row[_LOCAL]} → {row[_REMOTE]} state {row[_STATE]}"


def _unix(rows: Iterable[list[str]]) -> Iterator[str]:
    # Num RefCount Protocol Flags Type St Inode Path
    for row in rows:
        yield f"unix type {row[4]} {' '.join(row[7:]) or '(no name)'}"


def _packet(rows: Iterable[list[str]]) -> Iterator[str]:
    # sk RefCnt Type Proto Iface R Rmem User Inode
    for row in rows:
        yield f"packet type {row[2]} protocol {row[3]} interface {row[4]}"


def _netlink(rows: Iterable[list[str]]) -> Iterator[str]:
    # sk Eth Pid Groups …; the kernel's own ends have the port id 0.
    for row in rows:
        if row[2] != "0":
            yield f"netlink protocol {row[1]} groups {row[3]}"
