"""Queries made from nothing, and the replies that a resolver makes by itself."""

from __future__ import annotations

import secrets

from towline.wire.dns.message import (
    CD,
    HEADER_BYTES,
    OPCODE_MASK,
    QR,
    RA,
    RD,
    Edns,
    Message,
    Question,
    Rcode,
    Record,
    Type,
    read_header,
)
from towline.wire.dns.names import DnsError, Name
from towline.wire.dns.rdata import read_soa

# What fits a packet on every path without fragments (DNS flag day 2020).
SAFE_UDP_BYTES = 1232


def query(
    name: Name,
    rtype: int,
    *,
    ident: int | None = None,
    udp_size: int | None = SAFE_UDP_BYTES,
) -> Message:
    """Return a recursive query, with a random id unless given; `udp_size` None leaves EDNS out."""
    ident = secrets.randbits(16) if ident is None else ident
    opt = () if udp_size is None else (Edns(udp_size).record(),)
    return Message(ident, RD, (Question(name, rtype),), additionals=opt)


def reply(
    asked: Message,
    rcode: int = Rcode.NOERROR,
    answers: tuple[Record, ...] = (),
    authorities: tuple[Record, ...] = (),
) -> Message:
    """Return a recursive resolver's reply to `asked`, with EDNS if that had it (RFC 6891 §7)."""
    flags = QR | RA | asked.flags & (OPCODE_MASK | RD | CD) | rcode & 0xF
    opt: tuple[Record, ...] = ()
    if asked.edns is not None:
        edns = Edns(SAFE_UDP_BYTES, rcode_high=rcode >> 4, dnssec_ok=asked.edns.dnssec_ok)
        opt = (edns.record(),)
    return Message(asked.id, flags, asked.questions, answers, authorities, opt)


def nxdomain(asked: Message, soa: Record | None = None) -> Message:
    """Return the reply that the name does not exist; `soa` says for how long (RFC 2308 §3)."""
    return reply(asked, Rcode.NXDOMAIN, authorities=_authority(soa))


def nodata(asked: Message, soa: Record | None = None) -> Message:
    """Return the reply that the name exists without this type (RFC 2308 §2.2)."""
    return reply(asked, Rcode.NOERROR, authorities=_authority(soa))


def servfail(asked: Message) -> Message:
    """Return the reply that no answer could be had now."""
    return reply(asked, Rcode.SERVFAIL)


def refused(asked: Message) -> Message:
    """Return the reply that such a query is not served."""
    return reply(asked, Rcode.REFUSED)


def formerr(data: bytes) -> Message | None:
    """Return the reply to bytes that do not parse; None if they are not even a query's header."""
    if len(data) < HEADER_BYTES:
        return None
    ident, flags = read_header(data)[:2]
    if flags & QR:
        return None
    return Message(ident, QR | RA | flags & (OPCODE_MASK | RD) | Rcode.FORMERR)


def negative_ttl(message: Message) -> int | None:
    """Return for how many seconds a denial holds (RFC 2308 §5); None if it does not say."""
    ttls: list[int] = []
    for record in message.authorities:
        if record.rtype != Type.SOA:
            continue
        try:
            ttls.append(min(record.ttl, read_soa(record.rdata)[1]))
        except DnsError:
            continue
    return min(ttls, default=None)


def _authority(soa: Record | None) -> tuple[Record, ...]:
    return () if soa is None else (soa,)
