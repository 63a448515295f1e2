"""The domain names inside record data, which must be freed of pointers before data is moved.

A pointer in rdata counts from the start of the message it came in; in any other message it
leads elsewhere. RFC 3597 §4 lists the types whose names a receiver must expect compressed.
"""

from __future__ import annotations

from typing import NamedTuple

from towline.wire.dns.names import DnsError, Name, plain_name, read_name


class _Layout(NamedTuple):
    """How rdata is made up: fixed bytes, then names, then a tail (None: any length)."""

    lead: int
    names: int
    tail: int | None


_LAYOUTS: dict[int, _Layout] = {
    2: _Layout(0, 1, 0),  # NS
    3: _Layout(0, 1, 0),  # MD
    4: _Layout(0, 1, 0),  # MF
    5: _Layout(0, 1, 0),  # CNAME
    6: _Layout(0, 2, 20),  # SOA
    7: _Layout(0, 1, 0),  # MB
    8: _Layout(0, 1, 0),  # MG
    9: _Layout(0, 1, 0),  # MR
    12: _Layout(0, 1, 0),  # PTR
    14: _Layout(0, 2, 0),  # MINFO
    15: _Layout(2, 1, 0),  # MX
    17: _Layout(0, 2, 0),  # RP
    18: _Layout(2, 1, 0),  # AFSDB
    21: _Layout(2, 1, 0),  # RT
    24: _Layout(18, 1, None),  # SIG
    26: _Layout(2, 2, 0),  # PX
    30: _Layout(0, 1, None),  # NXT
    33: _Layout(6, 1, 0),  # SRV
    36: _Layout(2, 1, 0),  # KX
    39: _Layout(0, 1, 0),  # DNAME
}
_NAPTR = 35


def read_rdata(data: bytes, rtype: int, start: int, end: int) -> bytes:
    """Return the rdata at `start:end` of a message with its names written in full.

    Types that hold no names, or are not known, and empty rdata (RFC 2136 §2.4) are returned
    as they are. Raise DnsError when the names do not fit the length.
    """
    layout = _LAYOUTS.get(rtype)
    if rtype == _NAPTR and start < end:
        layout = _Layout(_naptr_lead(data, start, end), 1, 0)
    if layout is None or start == end:
        return data[start:end]
    out = bytearray(data[start : start + layout.lead])
    offset = start + layout.lead
    for _ in range(layout.names):
        name, offset = read_name(data, offset)
        out += plain_name(name)
    if offset > end or (layout.tail is not None and end - offset != layout.tail):
        raise DnsError(f"rdata of type {rtype} that does not fit its length")
    return bytes(out + data[offset:end])


def read_soa(rdata: bytes) -> tuple[Name, int]:
    """Return the primary server and the MINIMUM field, seconds, of a SOA's rdata."""
    primary, offset = read_name(rdata, 0)
    _, offset = read_name(rdata, offset)
    if len(rdata) != offset + 20:
        raise DnsError("a SOA record of a wrong length")
    return primary, int.from_bytes(rdata[-4:], "big")


def _naptr_lead(data: bytes, start: int, end: int) -> int:
    """Return the length of order, preference and three strings (RFC 3403 §4.1)."""
    offset = start + 4
    for _ in range(3):
        if offset >= end:
            raise DnsError("a NAPTR record that is cut off")
        offset += 1 + data[offset]
    return offset - start
