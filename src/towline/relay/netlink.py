"""The frame of netlink(7) messages: headers, attributes, acknowledgements; nf_tables' batches.

The standard library only: it runs in the root helper and in the agent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400
HEADER_BYTES = 16
# nf_tables' part of NETLINK_NETFILTER, of linux/netfilter/nfnetlink.h; its messages are this | N.
NF_TABLES = 10 << 8
_ERROR = 2
_NESTED = 0x8000
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    """Build a message; `kind` is the protocol's, `flags` are added to REQUEST."""
    size = HEADER_BYTES + len(body)
    return struct.pack("=IHHII", size, kind, REQUEST | flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Build an attribute, padded as the next one needs it."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Build an attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def change(owner: socket.socket, *messages: bytes) -> None:
    """Have nf_tables carry out messages, all or none; otherwise as :func:`ask`."""
    batch = struct.pack(">BBH", 0, 0, NF_TABLES >> 8)
    begin, end = message(_BATCH_BEGIN, 0, batch), message(_BATCH_END, 0, batch)
    ask(owner, b"".join((begin, *messages, end)))


def ask(owner: socket.socket, messages: bytes) -> None:
    """Have the kernel carry out messages, through a socket that does not block.

    Raises OSError with the kernel's errno for those that ask for ACK.
    """
    owner.send(messages)
    # The kernel has answered when send() returns. All is read: what is said later is not of this.
    replies = []
    with contextlib.suppress(BlockingIOError):
        while True:
            replies.append(owner.recv(65536))
    for reply in replies:
        raise_error(reply)


def messages(reply: bytes) -> Iterator[tuple[int, bytes]]:
    """The kinds and bodies of the messages that came together."""
    while len(reply) >= HEADER_BYTES:
        size, kind = struct.unpack_from("=IH", reply)
        yield kind, reply[HEADER_BYTES:size]
        reply = reply[max(HEADER_BYTES, size + -size % 4) :]


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kinds and values of the attributes that there are in a message's rest."""
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:size]
        data = data[max(4, size + -size % 4) :]


def attribute_kinds(data: bytes) -> set[int]:
    """List the kinds of the attributes that there are in a message's rest."""
    return {kind for kind, _ in attributes(data)}


def raise_error(reply: bytes) -> None:
    """Raise OSError with the kernel's errno if a reply says one; an acknowledgement has 0."""
    for kind, body in messages(reply):
        if kind == _ERROR and len(body) >= 4:
            (code,) = struct.unpack_from("=i", body)
            if code:
                raise OSError(-code, os.strerror(-code))
