"""Fuzz the WebSocket decoder: whatever a server sends, and however it is cut, the decoder must do
what a slow and simple reading of the whole does, and raise nothing.

    python -m tests.fuzz.fuzz_websocket [SECONDS [SEED]]

`target` is for coverage-guided fuzzers too.
"""

from __future__ import annotations

import random
import struct
import sys
import time

from towline.wire import websocket

Told = tuple[str, object]

_SEEDS = (
    b"\x82\x05\x00hell",
    b"\x02\x01\x00\x89\x02hi\x00\x03abc\x8a\x00\x80\x02de",
    b"\x82\x7e\x00\x7e" + bytes(126),
    b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(1 << 16),
    b"\x88\x05\x03\xe8bye",
    b"\x88\x00",
)


def reference(stream: bytes) -> list[Told]:
    """What a server's bytes mean (RFC 6455, section 5), read as a whole."""
    told: list[Told] = []
    message: bytes | None = None
    while len(stream) >= 2:
        first, second = stream[0], stream[1]
        final, opcode, size = first >= 0x80, first & 15, second & 127
        start = 2 + (0 if opcode & 8 else {126: 2, 127: 8}.get(size, 0))
        if (second < 0x80 and len(stream) < start) or _is_short(opcode, second, stream):
            break
        if second < 0x80 and not opcode & 8 and size > 125:
            size = struct.unpack(">H" if size == 126 else ">Q", stream[2:start])[0]
        payload, stream = stream[start : start + size], stream[start + size :]
        code = _violation(first, second, size, payload, message)
        if code:
            return [*told, *_unfinished(message), ("violation", code)]
        if opcode == 8:
            close = struct.unpack(">H", payload[:2])[0] if payload else 1005
            return [*told, *_unfinished(message), ("close", (close, payload[2:].decode()))]
        if opcode in (9, 10):
            told.append(("ping" if opcode == 9 else "pong", payload))
            continue
        message = (message or b"") + payload
        if len(payload) < size:
            return [*told, *_unfinished(message)]
        if final:
            told.append(("message", message))
            message = None
    return [*told, *_unfinished(message)]


def _is_short(opcode: int, second: int, stream: bytes) -> bool:
    """Whether a control frame is still coming; one that is refused anyway is not waited for."""
    return bool(opcode & 8) and second < 126 and len(stream) < 2 + second


def _violation(first: int, second: int, size: int, payload: bytes, message: bytes | None) -> int:
    opcode = first & 15
    if first & 0x70 or second & 0x80:
        return 1002
    if opcode & 8:
        return _control_violation(first, second, payload)
    if opcode == 1:
        return 1003
    if opcode > 2 or (opcode == 0) != (message is not None):
        return 1002
    if size < {126: 126, 127: 1 << 16}.get(second, 0) or size >= 1 << 63:
        return 1002
    return 1009 if len(message or b"") + size > websocket.MAX_MESSAGE_BYTES else 0


def _control_violation(first: int, second: int, payload: bytes) -> int:
    if first < 0x80 or second > 125 or first & 15 > 10:
        return 1002
    if first & 15 == 8 and payload:
        code = int.from_bytes(payload[:2], "big")
        known = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
        if len(payload) < 2 or code not in known:
            return 1002
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            return 1007
    return 0


def _unfinished(message: bytes | None) -> list[Told]:
    return [("unfinished", message)] if message else []


def read_all(parts: list[bytes]) -> list[Told]:
    """What the decoder makes of the parts, in the reference's words."""
    decoder = websocket.Decoder()
    told: list[Told] = []
    message = b""
    begun = False
    for event in (event for part in parts for event in decoder.receive(part)):
        if isinstance(event, websocket.Piece):
            assert event.first is not begun, "pieces out of order"
            assert event.data or event.last, "an empty piece"
            message += event.data
            begun = not event.last
            if event.last:
                told.append(("message", message))
                message = b""
        elif isinstance(event, websocket.Ping | websocket.Pong):
            told.append((type(event).__name__.lower(), event.payload))
        else:
            told += _unfinished(message)
            message = b""
            if isinstance(event, websocket.Close):
                told.append(("close", (event.code, event.reason)))
            else:
                told.append(("violation", int(event.code)))
    return [*told, *_unfinished(message)]


def target(data: bytes) -> None:
    """One input: the first byte says how the rest is cut."""
    step, stream = (data[0] % 64 + 1, data[1:]) if data else (1, b"")
    expected = reference(stream)
    assert read_all([stream]) == expected
    assert read_all([stream[i : i + step] for i in range(0, len(stream), step)]) == expected


def _mutated(chance: random.Random) -> bytes:
    data = bytearray(b"".join(chance.choices(_SEEDS, k=chance.randint(1, 4))))
    for _ in range(chance.randint(0, 4)):
        if not data:
            break
        place = chance.randrange(min(len(data), 300))
        if chance.random() < 0.5:
            data[place] = chance.randrange(256)
        elif chance.random() < 0.5:
            del data[place]
        else:
            data.insert(place, chance.randrange(256))
    return bytes((chance.randrange(256),)) + bytes(data)


def main(seconds: float = 30.0, seed: int | None = None) -> None:
    """Run `target` on mutated conversations for so long."""
    seed = time.time_ns() if seed is None else seed
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = _mutated(chance)
        count += 1
        try:
            target(data)
        except BaseException:
            print(f"seed {seed}, input {count}: {data[:400]!r}")
            raise
    print(f"{count} inputs, nothing found (seed {seed})")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
