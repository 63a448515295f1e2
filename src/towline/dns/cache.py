"""Answers of the cluster, each kept for as long as it says, and no longer than is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from towline.wire.dns import Message, Rcode, Record, Type, negative_ttl

CAPACITY = 2048
# Larger answers are rare, and would make what is kept in all large.
MAX_ENTRY_BYTES = 4096

_ADDRESSES = (Type.A, Type.AAAA)


@dataclass(slots=True)
class _Entry:
    """An answer, when it came and until when it may be used; how often it has been."""

    message: Message
    came: float
    until: float
    uses: int = 0


class Cache:
    """Keeps answers for `seconds` at most; with 0 it keeps none.

    An answer is that to one very query, its EDNS and flags included, whatever its id. Beyond
    `CAPACITY` the oldest is forgotten.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def get(self, query: bytes) -> Message | None:
        """Return the answer to a query, its TTLs counted down; None if it is not known.

        Addresses take turns in being the first, as clients take that one.
        """
        entry = self._entries.get(query[2:])
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.until:
            return None
        entry.uses += 1
        return _in_turn(_aged(entry.message, int(now - entry.came)), entry.uses)

    def put(self, query: bytes, answer: bytes, message: Message) -> None:
        """Keep an answer, which is `message` as it reads, if it may be kept."""
        if not self._seconds:
            return
        seconds = min(lifetime(message), self._seconds)
        self._entries.pop(query[2:], None)
        if seconds <= 0 or len(answer) > MAX_ENTRY_BYTES:
            return
        now = self._clock()
        self._entries[query[2:]] = _Entry(message, now, now + seconds)
        if len(self._entries) > CAPACITY:
            del self._entries[next(iter(self._entries))]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


def lifetime(message: Message) -> int:
    """Return for how many seconds an answer may be used again (RFC 1035 §7.4, RFC 2308 §5).

    A denial counts by the SOA record that comes with it; without one it may not be used.
    """
    if message.is_truncated or message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return 0
    wanted = {question.rtype for question in message.questions}
    denied = negative_ttl(message)
    is_answered = any(record.rtype in wanted for record in message.answers)
    if denied is None and (not is_answered or message.rcode == Rcode.NXDOMAIN):
        return 0
    records = (*message.answers, *message.authorities, *message.additionals)
    ttls = [record.ttl for record in records if record.rtype != Type.OPT]
    return min([*ttls, *([] if denied is None else [denied])], default=0)


def _aged(message: Message, seconds: int) -> Message:
    def aged(records: tuple[Record, ...]) -> tuple[Record, ...]:
        # What stands for the TTL of an OPT record are flags.
        return tuple(
            record if record.rtype == Type.OPT else replace(record, ttl=record.ttl - seconds)
            for record in records
        )

    return replace(
        message,
        answers=aged(message.answers),
        authorities=aged(message.authorities),
        additionals=aged(message.additionals),
    )


def _in_turn(message: Message, turn: int) -> Message:
    """Rotate the addresses among the answers by `turn` places; what leads to them stays first."""
    found = [record for record in message.answers if record.rtype in _ADDRESSES]
    if len(found) < 2:
        return message
    first = turn % len(found)
    others = tuple(record for record in message.answers if record.rtype not in _ADDRESSES)
    return replace(message, answers=(*others, *found[first:], *found[:first]))
