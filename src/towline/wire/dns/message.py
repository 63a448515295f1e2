"""DNS messages: read from and written to bytes (RFC 1035 §4, EDNS by RFC 6891).

Records keep their data as bytes in which every name is written in full, so they may be put
into any message; types that are not known pass as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from towline.wire.dns.names import DnsError, Name, read_name, write_name
from towline.wire.dns.rdata import read_rdata

HEADER_BYTES = 12
# What a client takes by UDP that does not say otherwise (RFC 1035 §4.2.1).
PLAIN_UDP_BYTES = 512
MAX_MESSAGE_BYTES = 65535

QR = 0x8000
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
AD = 0x0020
CD = 0x0010
OPCODE_MASK = 0x7800

CLASS_IN = 1

_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_EDNS_DO = 0x8000


class Type(IntEnum):
    """The record types that this package has a reason to name."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    ANY = 255


class Rcode(IntEnum):
    """Response codes (RFC 1035 §4.1.1, RFC 6891 §9)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True)
class Question:
    """What is asked: a name, a type and a class, the last two as numbers."""

    name: Name
    rtype: int
    rclass: int = CLASS_IN


@dataclass(frozen=True)
class Record:
    """One resource record; `ttl` in seconds, `rdata` without compression."""

    name: Name
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes


@dataclass(frozen=True)
class Edns:
    """An OPT record's meaning (RFC 6891 §6.1): the sender's UDP size in bytes and its flags."""

    udp_size: int
    rcode_high: int = 0
    version: int = 0
    dnssec_ok: bool = False
    options: bytes = b""

    @classmethod
    def of(cls, record: Record) -> Edns:
        """Read an OPT record."""
        return cls(
            udp_size=record.rclass,
            rcode_high=record.ttl >> 24,
            version=record.ttl >> 16 & 0xFF,
            dnssec_ok=bool(record.ttl & _EDNS_DO),
            options=record.rdata,
        )

    def record(self) -> Record:
        """Return the OPT record that says this."""
        flags = _EDNS_DO if self.dnssec_ok else 0
        ttl = self.rcode_high << 24 | self.version << 16 | flags
        return Record(Name(), Type.OPT, self.udp_size, ttl, self.options)


@dataclass(frozen=True)
class Message:
    """A query or a response. `flags` is the header's second word, RCODE and OPCODE included."""

    id: int
    flags: int = 0
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authorities: tuple[Record, ...] = ()
    additionals: tuple[Record, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """Read a message; bytes after its last record are ignored.

        Raise DnsError for anything else than a message, for two OPT records (RFC 6891
        §6.1.1) and for one that is not the root's (§6.1.2).
        """
        ident, flags, *counts = read_header(data)
        offset = HEADER_BYTES
        questions: list[Question] = []
        for _ in range(counts[0]):
            question, offset = _read_question(data, offset)
            questions.append(question)
        sections: list[tuple[Record, ...]] = []
        for count in counts[1:]:
            records, offset = _read_records(data, offset, count)
            sections.append(records)
        opts = [record for record in sections[2] if record.rtype == Type.OPT]
        if len(opts) > 1 or any(opt.name.labels for opt in opts):
            raise DnsError("more than one OPT record, or one with a name")
        return cls(ident, flags, tuple(questions), *sections)

    def encode(self, limit: int = MAX_MESSAGE_BYTES) -> bytes:
        """Return the message in at most `limit` bytes.

        Records that do not fit are left out whole, from the end, and TC is set unless only
        additional ones are missing (RFC 2181 §9). Questions and the OPT record always stay;
        raise DnsError if they alone make more than any message can be.
        """
        return _Writer(self, limit).write()

    @property
    def is_response(self) -> bool:
        """Whether the QR bit says that this is a response."""
        return bool(self.flags & QR)

    @property
    def opcode(self) -> int:
        """The kind of query; 0 is the standard one."""
        return (self.flags & OPCODE_MASK) >> 11

    @property
    def is_truncated(self) -> bool:
        """Whether the TC bit says that records are missing."""
        return bool(self.flags & TC)

    @property
    def edns(self) -> Edns | None:
        """What the OPT record says, or None without one."""
        for record in self.additionals:
            if record.rtype == Type.OPT:
                return Edns.of(record)
        return None

    @property
    def rcode(self) -> int:
        """The response code, with the upper bits that EDNS gives it."""
        edns = self.edns
        return self.flags & 0xF | (edns.rcode_high << 4 if edns else 0)

    @property
    def udp_limit(self) -> int:
        """The most bytes that this query's sender takes by UDP (RFC 6891 §6.2.3)."""
        edns = self.edns
        return max(PLAIN_UDP_BYTES, edns.udp_size) if edns else PLAIN_UDP_BYTES

    def asking(self, name: Name) -> Message:
        """Return the same query for another name."""
        questions = tuple(replace(question, name=name) for question in self.questions)
        return replace(self, questions=questions)

    def renamed(self, old: Name, new: Name) -> Message:
        """Return the message with `new` for `old` in the question and as owner of answers."""
        return replace(
            self,
            questions=tuple(replace(q, name=new) if q.name == old else q for q in self.questions),
            answers=tuple(replace(r, name=new) if r.name == old else r for r in self.answers),
        )


def read_header(data: bytes) -> tuple[int, int, int, int, int, int]:
    """Return the id, the flags and the counts of the four sections of a message."""
    if len(data) < HEADER_BYTES:
        raise DnsError(f"a message of {len(data)} bytes")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    return ident, flags, questions, answers, authorities, additionals


def read_questions(data: bytes) -> tuple[Question, ...]:
    """Return the questions of a message without reading its records."""
    count = read_header(data)[2]
    offset = HEADER_BYTES
    questions: list[Question] = []
    for _ in range(count):
        question, offset = _read_question(data, offset)
        questions.append(question)
    return tuple(questions)


def _read_question(data: bytes, offset: int) -> tuple[Question, int]:
    name, offset = read_name(data, offset)
    if offset + 4 > len(data):
        raise DnsError("a question that is cut off")
    rtype, rclass = struct.unpack_from(">HH", data, offset)
    return Question(name, rtype, rclass), offset + 4


def _read_records(data: bytes, offset: int, count: int) -> tuple[tuple[Record, ...], int]:
    records: list[Record] = []
    for _ in range(count):
        name, offset = read_name(data, offset)
        if offset + _RECORD.size > len(data):
            raise DnsError("a record that is cut off")
        rtype, rclass, ttl, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        end = offset + length
        if end > len(data):
            raise DnsError("a record that is cut off")
        rdata = read_rdata(data, rtype, offset, end)
        records.append(Record(name, rtype, rclass, ttl, rdata))
        offset = end
    return tuple(records), offset


class _Writer:
    """Writes one message into a bounded number of bytes."""

    def __init__(self, message: Message, limit: int) -> None:
        self._message = message
        self._limit = min(limit, MAX_MESSAGE_BYTES)
        self._out = bytearray(HEADER_BYTES)
        self._known: dict[tuple[bytes, ...], int] = {}

    def write(self) -> bytes:
        message = self._message
        for question in message.questions:
            write_name(self._out, question.name, self._known)
            self._out += struct.pack(">HH", question.rtype, question.rclass)
        opts = tuple(r for r in message.additionals if r.rtype == Type.OPT)
        others = tuple(r for r in message.additionals if r.rtype != Type.OPT)
        room = self._limit - sum(1 + _RECORD.size + len(r.rdata) for r in opts)
        answers = self._write_fitting(message.answers, room)
        authorities = 0
        if answers == len(message.answers):
            authorities = self._write_fitting(message.authorities, room)
        whole = answers == len(message.answers) and authorities == len(message.authorities)
        additionals = self._write_fitting(others, room) if whole else 0
        additionals += self._write_fitting(opts, MAX_MESSAGE_BYTES)
        flags = message.flags if whole else message.flags | TC
        counts = (len(message.questions), answers, authorities, additionals)
        if len(self._out) > MAX_MESSAGE_BYTES:
            raise DnsError("questions and EDNS options that are too long")
        _HEADER.pack_into(self._out, 0, message.id, flags, *counts)
        return bytes(self._out)

    def _write_fitting(self, records: tuple[Record, ...], room: int) -> int:
        """Append records while they end within `room`; return how many did.

        After one that did not, no name may be written: its own are still known, but gone.
        """
        for index, record in enumerate(records):
            mark = len(self._out)
            self._write_record(record)
            if len(self._out) > room:
                del self._out[mark:]
                return index
        return len(records)

    def _write_record(self, record: Record) -> None:
        write_name(self._out, record.name, self._known)
        length = len(record.rdata)
        if length > MAX_MESSAGE_BYTES:
            raise DnsError(f"rdata of {length} bytes")
        self._out += _RECORD.pack(record.rtype, record.rclass, record.ttl, length)
        self._out += record.rdata
