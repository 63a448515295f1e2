"""Local ports that programs of this machine connect to, and what has one that is taken."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import cast

from towline.errors import AccessError, SessionError, UsageError
from towline.relay import sockets
from towline.relay.splice import Splice

# Both, as programs may try either one for "localhost".
LOOPBACKS = ("127.0.0.1", "::1")
_BACKLOG = 1024
_TRIES = 50
_TABLES = ("tcp", "tcp6", "udp", "udp6")
# proc(5): the state of a socket that listens, and of one for datagrams.
_WAITING_STATES = frozenset({"0A", "07"})


class Arrival(asyncio.Protocol):
    """A connection that has just come, from which nothing is read until it is joined."""

    def __init__(self, arrived: Callable[[asyncio.Transport], None]) -> None:
        self._arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell of it."""
        made = cast("asyncio.Transport", transport)
        sockets.reset_if_cut_off(made)
        # Before Python 3.12 the loop begins to read after this, whatever is said here.
        asyncio.get_running_loop().call_soon(made.pause_reading)
        self._arrived(made)


def join(transport: asyncio.Transport, splice: Splice, said: bytes = b"") -> None:
    """Make a connection that is not read from a splice's; `said` has come on it before."""
    transport.set_protocol(splice)
    splice.connection_made(transport)
    transport.resume_reading()
    if said and not transport.is_closing():
        splice.data_received(said)


def bind(addresses: Sequence[str], port: int, kind: socket.SocketKind) -> list[socket.socket]:
    """Listen on a port at each address; on a free one, the same at each, for port 0.

    Without `addresses` that is this machine's loopback. Raises SessionError when the port is
    taken, UsageError for an address that is none of this machine's, AccessError.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            return _bind_all(addresses, port, kind)
        except SessionError:
            if port or not tries_left:
                raise
    raise AssertionError


def _bind_all(addresses: Sequence[str], port: int, kind: socket.SocketKind) -> list[socket.socket]:
    with ExitStack() as stack:
        bound: list[socket.socket] = []
        for address in addresses or LOOPBACKS:
            number = port or (bound[0].getsockname()[1] if bound else 0)
            try:
                bound.append(stack.enter_context(_bind(address, number, kind)))
            except OSError as error:
                if not addresses and bound and error.errno != errno.EADDRINUSE:
                    continue  # there is no IPv6 here
                raise _refusal(error, address, number) from None
        stack.pop_all()
        return bound


def _bind(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made


def _refusal(error: OSError, address: str, port: int) -> Exception:
    where = written(address, port)
    if error.errno == errno.EADDRINUSE:
        by = holder(port)
        return SessionError(
            f"The port {where} of this machine is taken{f', by {by}' if by else ''}.",
            "Choose another one, or 0 for any that is free.",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(
            f"You may not listen on {where}.", "Ports below 1024 are root's: choose another one."
        )
    return UsageError(f"This machine cannot listen on {where}: {error.strerror}.")


def written(host: str, port: int) -> str:
    """An address and a port as one writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reached_at(address: str, proc: Path = Path("/proc")) -> list[str]:
    """By which addresses others reach what listens at this one: for any, by all of this machine's.

    The one comes first that this machine has on the way to most others.
    """
    if not ip_address(address).is_unspecified:
        return [address]
    own = _own_ipv6(proc) if ":" in address else _own_ipv4(proc)
    first = _usual_source(socket.AF_INET6 if ":" in address else socket.AF_INET)
    return sorted(own, key=lambda each: each != first) or [address]


def _own_ipv4(proc: Path) -> list[str]:
    """Those that the kernel's routes call local (proc(5)), but for the loopback's."""
    words = [word for line in _words(proc / "net/fib_trie") for word in line]
    found = (
        words[at - 1]
        for at in range(1, len(words) - 2)
        if words[at : at + 3] == ["/32", "host", "LOCAL"]
    )
    return [each for each in dict.fromkeys(found) if not ip_address(each).is_loopback]


def _own_ipv6(proc: Path) -> list[str]:
    found = (IPv6Address(bytes.fromhex(number)) for number, *_rest in _words(proc / "net/if_inet6"))
    return [str(each) for each in found if not (each.is_loopback or each.is_link_local)]


def _usual_source(family: socket.AddressFamily) -> str:
    """Nothing is sent: the addresses are documentation's (RFC 5737, RFC 3849)."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return ""


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """The program that waits on a port of this machine: its name and process id; "" if unknown."""
    sockets_there = {
        f"socket:[{words[9]}]"
        for table in _TABLES
        for words in _words(proc / "net" / table)[1:]
        if words[1].endswith(f":{port:04X}") and words[3] in _WAITING_STATES
    }
    for process in proc.glob("[0-9]*") if sockets_there else ():
        with suppress(OSError):
            if any(str(each.readlink()) in sockets_there for each in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _words(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()]
    except OSError:
        return []
