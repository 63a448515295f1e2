"""Redirects ports of this pod to the agent's own listeners, by nf_tables and without its tools.

The table belongs to a netlink socket: the kernel removes it when that closes, also on `kill -9`
(Linux 5.12). It takes what comes from outside; what this pod itself connects to goes past it, but
for what a sidecar passes on.
Messages are those of linux/netfilter/nf_tables.h, expressions those of `nft --debug=netlink`.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from towline.agent.kubelet import IPAddress
from towline.relay import netlink
from towline.relay.netlink import attribute, nested
from towline.wire.target import Port, Protocol

# Before the usual -100, and after conntrack at -200. Where a sidecar is to have first what comes
# from outside, after it: the first chain that translates an address is the last.
_PRIORITY, _BEHIND_PRIORITY = -101, -99
_CHAIN, _INNER_CHAIN = b"prerouting\0", b"output\0"
_HOLDER = b"tracking\0"
# Together with a port's number the mark of its connections: what an agent that was killed has
# left of them in conntrack can be found.
_MARK = 0x70770000

_NETLINK_NETFILTER = 12  # missing from the socket module
_NEW_TABLE, _NEW_CHAIN = netlink.NF_TABLES | 0, netlink.NF_TABLES | 3
_NEW_RULE, _DELETE_RULE = netlink.NF_TABLES | 6, netlink.NF_TABLES | 8
_CREATE = netlink.ACK | netlink.CREATE | netlink.EXCL
_APPEND = netlink.ACK | netlink.CREATE | 0x800
_FAMILY_INET = struct.pack(">BBH", 1, 0, 0)
_TABLE_OWNER = 0x2
_HOOK_PREROUTING, _HOOK_OUTPUT = 0, 3
_REGISTER = struct.pack(">I", 1)
_FORGET = 1 << 8 | 2  # of linux/netfilter/nfnetlink_conntrack.h
_CTA_MARK, _CTA_MARK_MASK = 8, 21
_CT_STATE, _CT_MARK = 0, 3
_CT_READ, _CT_WRITE = 1, 4
_META_IIF, _META_NFPROTO, _META_L4PROTO = 4, 15, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_RETURN = -5
# The same in every network namespace of Linux.
_LOOPBACK_INDEX = struct.pack("=I", 1)
# Of each family: its number, where its source address is, and how long that is.
_SOURCES = {4: (2, 12, 4), 6: (10, 8, 16)}
_TCP_FLAGS, _SYN_OF_ALL = 13, (0x02, 0x17)

_NEEDS = "the redirect needs nf_tables with NAT and owned tables in the node's kernel (Linux 5.12)"
_REASONS = {
    errno.EPERM: "the redirect needs the capability NET_ADMIN in this container",
    errno.EPROTONOSUPPORT: _NEEDS,
    errno.EAFNOSUPPORT: _NEEDS,
    errno.EOPNOTSUPP: _NEEDS,
    errno.EINVAL: _NEEDS,
    errno.ENOENT: _NEEDS,
}


@dataclass(frozen=True)
class Redirection:
    """A port, and the listener of this pod that gets what comes to it, except from `exempt`."""

    port: Port
    listener: int
    exempt: tuple[IPAddress, ...] = ()


class Redirect:
    """A table of this name, there until :meth:`close` or the end of this process."""

    def __init__(
        self, name: str, redirections: Sequence[Redirection], behind: Sequence[IPAddress] = ()
    ) -> None:
        """Make it. Raises OSError whose text says in one line what the kernel lacks.

        `behind` are addresses of this pod from which a sidecar connects to its programs, with what
        has come from outside by TCP.
        """
        self._table = name.encode() + b"\0"
        self._behind = behind
        self._marks = {_MARK | each.port.number for each in redirections}
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
            self._socket.setblocking(False)
            self._forget()
            netlink.change(self._socket, *self._messages(redirections))
        except OSError as error:
            self.close()
            code = error.errno or errno.EIO
            reason = _REASONS.get(code, "the kernel refused the redirect")
            raise OSError(code, f"{reason}: {error.strerror}") from error

    def stop(self) -> None:
        """Let new connections go past; those that are there stay with the agent.

        The table is left: the kernel translates addresses for as long as somebody has a chain for
        that, and a rule that takes conntrack. Safe to call twice.
        """
        if self._socket is None:
            return
        table = _FAMILY_INET + attribute(1, self._table)
        chains = (_CHAIN, _INNER_CHAIN) if self._behind else (_CHAIN,)
        bodies = [table + attribute(2, chain) for chain in chains]
        stopping = [netlink.message(_DELETE_RULE, netlink.ACK, body) for body in bodies]
        try:
            netlink.change(self._socket, *stopping)
        except OSError:  # out of memory: new connections are worth more than old ones
            self.close()

    def close(self) -> None:
        """Remove the table. What came by it is cut off, unless it has ended."""
        if self._socket is not None:
            self._forget()
            self._socket.close()
            self._socket = None

    def _forget(self) -> None:
        """Have conntrack forget the connections of the ports.

        It keeps them for minutes or days, and a client that uses the same port again would be
        led to where no listener is any more.
        """
        assert self._socket is not None
        for mark in self._marks:
            wanted = attribute(_CTA_MARK, _number(mark)) + attribute(_CTA_MARK_MASK, b"\xff" * 4)
            with contextlib.suppress(OSError):  # it is not there without conntrack's netlink
                netlink.ask(self._socket, netlink.message(_FORGET, netlink.ACK, bytes(4) + wanted))

    def _messages(self, redirections: Sequence[Redirection]) -> Iterable[bytes]:
        yield netlink.message(
            _NEW_TABLE,
            _CREATE,
            _FAMILY_INET + attribute(1, self._table) + attribute(2, _number(_TABLE_OWNER)),
        )
        yield self._base_chain(_CHAIN, _HOOK_PREROUTING)
        table = attribute(1, self._table)
        yield netlink.message(_NEW_CHAIN, _CREATE, _FAMILY_INET + table + attribute(3, _HOLDER))
        yield self._rule(_HOLDER, _ct(_CT_STATE, _CT_READ))
        for each in redirections:
            yield self._rule(_CHAIN, *_arriving(each.port), *_marked(_MARK | each.port.number))
            opening = (*_arriving(each.port), *_opening(each.port))
            for source in each.exempt:
                yield self._rule(_CHAIN, *opening, *_source(source), _verdict(_RETURN))
            yield self._rule(_CHAIN, *opening, *_redirected(each.listener))
        if self._behind:
            yield self._base_chain(_INNER_CHAIN, _HOOK_OUTPUT)
            yield from self._inner_rules(redirections)

    def _inner_rules(self, redirections: Sequence[Redirection]) -> Iterable[bytes]:
        for each in redirections:
            if each.port.protocol != Protocol.TCP:
                continue
            for source in self._behind:
                passed_on = (*_source(source), *_to(each.port))
                marked = _marked(_MARK | each.port.number)
                yield self._rule(_INNER_CHAIN, *passed_on, *marked)
                led = (*_opening(each.port), *_redirected(each.listener))
                yield self._rule(_INNER_CHAIN, *passed_on, *led)

    def _base_chain(self, name: bytes, hook: int) -> bytes:
        priority = struct.pack(">i", _BEHIND_PRIORITY if self._behind else _PRIORITY)
        hooked = nested(4, attribute(1, _number(hook)), attribute(2, priority))
        names = attribute(1, self._table) + attribute(3, name)
        body = _FAMILY_INET + names + hooked + attribute(7, b"nat\0")
        return netlink.message(_NEW_CHAIN, _CREATE, body)

    def _rule(self, chain: bytes, *expressions: bytes) -> bytes:
        names = attribute(1, self._table) + attribute(2, chain)
        return netlink.message(_NEW_RULE, _APPEND, _FAMILY_INET + names + nested(4, *expressions))


def _arriving(port: Port) -> Iterable[bytes]:
    """`iif != lo`, and :func:`_to`."""
    yield from (_meta(_META_IIF), _compare(_NOT_EQUAL, _LOOPBACK_INDEX))
    yield from _to(port)


def _to(port: Port) -> Iterable[bytes]:
    """`meta l4proto PROTOCOL th dport PORT`."""
    number = struct.pack(">H", port.number)
    yield from (_meta(_META_L4PROTO), _compare(_EQUAL, bytes([port.protocol])))
    yield from (_payload(_TRANSPORT_HEADER, 2, 2), _compare(_EQUAL, number))


def _opening(port: Port) -> Iterable[bytes]:
    """`tcp flags syn / fin,syn,rst,ack`; for UDP anything.

    Conntrack begins with the table: a connection from before is new to it, though in the middle.
    """
    if port.protocol == Protocol.TCP:
        flag, mask = _SYN_OF_ALL
        yield from (_payload(_TRANSPORT_HEADER, _TCP_FLAGS, 1), _masked(mask))
        yield _compare(_EQUAL, bytes([flag]))


def _marked(mark: int) -> Iterable[bytes]:
    """`ct mark set MARK`, which takes it in the host's byte order."""
    value = nested(2, attribute(1, struct.pack("=I", mark)))
    yield _expression(b"immediate", attribute(1, _REGISTER), value)
    yield _ct(_CT_MARK, _CT_WRITE)


def _source(address: IPAddress) -> Iterable[bytes]:
    """`ip saddr ADDRESS`, or ip6."""
    number, offset, size = _SOURCES[address.version]
    yield from (_meta(_META_NFPROTO), _compare(_EQUAL, bytes([number])))
    yield from (_payload(_NETWORK_HEADER, offset, size), _compare(_EQUAL, address.packed))


def _redirected(listener: int) -> Iterable[bytes]:
    """`redirect to :LISTENER`."""
    port = nested(2, attribute(1, struct.pack(">H", listener)))
    yield _expression(b"immediate", attribute(1, _REGISTER), port)
    yield _expression(b"redir", attribute(1, _REGISTER))


def _verdict(code: int) -> bytes:
    verdict = nested(2, nested(2, attribute(1, struct.pack(">i", code))))
    return _expression(b"immediate", attribute(1, _number(0)), verdict)


def _meta(key: int) -> bytes:
    return _expression(b"meta", attribute(2, _number(key)), attribute(1, _REGISTER))


def _ct(key: int, deed: int) -> bytes:
    """Read what conntrack knows into the register, or write it from there."""
    return _expression(b"ct", attribute(2, _number(key)), attribute(deed, _REGISTER))


def _payload(base: int, offset: int, size: int) -> bytes:
    values = (_REGISTER, _number(base), _number(offset), _number(size))
    return _expression(b"payload", *(attribute(at, value) for at, value in enumerate(values, 1)))


def _masked(mask: int) -> bytes:
    values = (_REGISTER, _REGISTER, _number(1))
    return _expression(
        b"bitwise",
        *(attribute(at, value) for at, value in enumerate(values, 1)),
        nested(4, attribute(1, bytes([mask]))),
        nested(5, attribute(1, bytes(1))),
    )


def _compare(operator: int, value: bytes) -> bytes:
    parts = (attribute(1, _REGISTER), attribute(2, _number(operator)))
    return _expression(b"cmp", *parts, nested(3, attribute(1, value)))


def _expression(name: bytes, *attributes: bytes) -> bytes:
    """An element of a rule's list of expressions."""
    return nested(1, attribute(1, name + b"\0"), nested(2, *attributes))


def _number(value: int) -> bytes:
    return struct.pack(">I", value)
