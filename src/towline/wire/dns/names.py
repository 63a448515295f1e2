"""Domain names as values, and their form on the wire (RFC 1035 §3.1, §4.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LABEL_BYTES = 63
MAX_NAME_BYTES = 255
# A name has at most 127 labels; more pointers than that serve only to keep a reader busy.
MAX_POINTERS = 128
# A compression pointer holds 14 bits (RFC 1035 §4.1.4).
MAX_POINTER = 0x3FFF

_ESCAPED_TEXT = b'."\\;()@$'


class DnsError(ValueError):
    """Bytes or values that are no DNS message, name or record."""


class Name:
    """An absolute domain name: any bytes in its labels, the root having none.

    Compares and hashes without regard to ASCII case (RFC 4343); `labels` keep the case they
    came with, which a client may use to tell a true answer from a forged one.
    """

    __slots__ = ("_key", "labels")

    labels: tuple[bytes, ...]

    def __init__(self, labels: Iterable[bytes] = ()) -> None:
        """Raise DnsError for an empty label, one over 63 bytes, or a name over 255 bytes."""
        self.labels = tuple(labels)
        for label in self.labels:
            if not 1 <= len(label) <= MAX_LABEL_BYTES:
                raise DnsError(f"a label of {len(label)} bytes")
        if len(self) > MAX_NAME_BYTES:
            raise DnsError(f"a name of {len(self)} bytes")
        self._key = tuple([label.lower() for label in self.labels])

    @classmethod
    def of(cls, text: str) -> Name:
        r"""Return the name written as `text`, with or without a last dot; "." is the root.

        Escapes are those of RFC 1035 §5.1 (`\.` and `\123`); other text is UTF-8.
        """
        if text in ("", "."):
            return cls()
        return cls(_split_text(text))

    def __len__(self) -> int:
        """Return the bytes the name takes on the wire without compression."""
        return sum(map(len, self.labels)) + len(self.labels) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __add__(self, suffix: Name) -> Name:
        return Name(self.labels + suffix.labels)

    def __str__(self) -> str:
        return ".".join(_label_text(label) for label in self.labels) or "."

    def __repr__(self) -> str:
        return f"Name({str(self)!r})"

    @property
    def key(self) -> tuple[bytes, ...]:
        """The labels in lower case."""
        return self._key

    def is_under(self, suffix: Name) -> bool:
        """Tell whether the name is `suffix` or ends with it."""
        return suffix._key == self._key[len(self._key) - len(suffix._key) :]

    def without(self, suffix: Name) -> Name:
        """Return the labels before `suffix`, which the name must end with."""
        if not self.is_under(suffix):
            raise DnsError(f"{self} is not under {suffix}")
        return self._part(0, len(self.labels) - len(suffix.labels))

    def last(self, count: int = 1) -> Name:
        """Return the name of the last `count` labels, or the whole name if it has fewer."""
        return self._part(max(0, len(self.labels) - count), len(self.labels))

    def _part(self, start: int, end: int) -> Name:
        """Return the name of some of these labels, which need not be checked again."""
        part = Name.__new__(Name)
        part.labels = self.labels[start:end]
        part._key = self._key[start:end]
        return part


def read_name(data: bytes, offset: int) -> tuple[Name, int]:
    """Return the name at `offset` of a message and the offset after it.

    A pointer must lead to before the labels it continues, as all pointers to a prior
    occurrence do (RFC 1035 §4.1.4); no chain of them can therefore be a loop.
    """
    labels: list[bytes] = []
    end = -1
    start = offset
    size = 1
    pointers = 0
    try:
        while True:
            length = data[offset]
            if length == 0:
                break
            if length <= MAX_LABEL_BYTES:
                label = data[offset + 1 : offset + 1 + length]
                size += length + 1
                if len(label) < length or size > MAX_NAME_BYTES:
                    raise DnsError("a name that is cut off or too long")
                labels.append(label)
                offset += length + 1
                continue
            if length < 0xC0:
                raise DnsError(f"a label of unknown type {length >> 6}")
            target = (length & 0x3F) << 8 | data[offset + 1]
            pointers += 1
            if target >= start or pointers > MAX_POINTERS:
                raise DnsError("a compression pointer that does not lead back")
            end = offset + 2 if end < 0 else end
            offset = start = target
    except IndexError:
        raise DnsError("a name that is cut off") from None
    return Name(labels), offset + 1 if end < 0 else end


def write_name(out: bytearray, name: Name, known: dict[tuple[bytes, ...], int]) -> None:
    """Append `name`, pointing to the longest tail that is in `known`, and add what is new to it.

    Only tails of the same case are shared, so that every name keeps its own.
    """
    labels = name.labels
    for index in range(len(labels)):
        tail = labels[index:]
        at = known.get(tail)
        if at is not None:
            out += (0xC000 | at).to_bytes(2, "big")
            return
        if len(out) <= MAX_POINTER:
            known[tail] = len(out)
        out.append(len(labels[index]))
        out += labels[index]
    out.append(0)


def plain_name(name: Name) -> bytes:
    """Return the name as it is written without compression."""
    out = bytearray()
    for label in name.labels:
        out.append(len(label))
        out += label
    out.append(0)
    return bytes(out)


def _split_text(text: str) -> Iterable[bytes]:
    label = bytearray()
    data = text.encode()
    index = 0
    while index < len(data):
        byte = data[index]
        index += 1
        if byte == ord("."):
            yield bytes(label)
            label.clear()
        elif byte == ord("\\"):
            value, index = _read_escape(data, index)
            label.append(value)
        else:
            label.append(byte)
    if label:
        yield bytes(label)


def _read_escape(data: bytes, index: int) -> tuple[int, int]:
    digits = data[index : index + 3]
    if not digits:
        raise DnsError("a backslash with nothing after it")
    if not digits[:1].isdigit():
        return digits[0], index + 1
    if len(digits) < 3 or not digits.isdigit() or int(digits) > 255:
        raise DnsError("a backslash with a number that is no byte")
    return int(digits), index + 3


def _label_text(label: bytes) -> str:
    text = []
    for byte in label:
        if byte in _ESCAPED_TEXT:
            text.append("\\" + chr(byte))
        elif 0x21 <= byte <= 0x7E:
            text.append(chr(byte))
        else:
            text.append(f"\\{byte:03d}")
    return "".join(text)
