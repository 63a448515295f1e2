"""Fuzz the multiplexer: whatever a peer sends, and however it is cut, there are only events or a
ProtocolError, the same ones for every cut, and no stream gets more than its window.

    python -m tests.fuzz.fuzz_mux [SECONDS [SEED]]

`target` is for coverage-guided fuzzers too; with atheris installed, main uses that.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator

from towline.wire import frames
from towline.wire.events import Data, Eof, Event, Opened
from towline.wire.frames import FrameType, Kind, ProtocolError
from towline.wire.mux import Mux, StreamClosed

WINDOW = 300
MAX_WINDOW = 4 * WINDOW

Told = list[Event]


def _mux() -> Mux:
    """A client with two streams of its own, one after the other opened."""
    mux = Mux(client=True, initial_window=WINDOW, max_window=MAX_WINDOW, max_streams=3)
    mux.open(Kind.TCP, b"a")
    mux.open(Kind.RESOLVE)
    return mux


def read(parts: Iterator[bytes]) -> tuple[Told, type[ProtocolError] | None]:
    """What the mux makes of the parts, neighbouring data of a stream joined, and its refusal."""
    mux = _mux()
    told: Told = []
    came: Counter[int] = Counter()
    for part in parts:
        try:
            events = mux.receive(part)
        except ProtocolError as error:
            return told, type(error)
        for event in events:
            if not isinstance(event, Data):
                told.append(event)
                continue
            came[event.stream] += len(event.data)
            assert event.data, "an empty piece"
            assert came[event.stream] <= MAX_WINDOW, "more than the window"
            last = told[-1] if told else None
            if isinstance(last, Data) and last.stream == event.stream:
                told[-1] = Data(last.stream, last.data + event.data)
            else:
                told.append(Data(event.stream, bytes(event.data)))
    return told, None


def live(parts: Iterator[bytes]) -> None:
    """A user who answers, reads and ends streams never sees another error than the mux's own."""
    mux = _mux()
    for part in parts:
        try:
            events = mux.receive(part)
        except ProtocolError:
            return
        for event in events:
            _answer(mux, event)
        mux.take_output()


def _answer(mux: Mux, event: Event) -> None:
    try:
        if isinstance(event, Opened):
            mux.accept(event.stream)
            mux.send(event.stream, bytes(mux.credit(event.stream)))
        elif isinstance(event, Data):
            mux.consumed(event.stream, len(event.data))
        elif isinstance(event, Eof):
            mux.send_eof(event.stream)
    except StreamClosed:
        pass  # the peer has ended it within the same bytes


def target(data: bytes) -> None:
    """One input: the first byte says how the rest is cut."""
    step, stream = (data[0] % 64 + 1, data[1:]) if data else (1, b"")
    whole, refusal = read(iter([stream]))
    cut, refusal_cut = read(stream[i : i + step] for i in range(0, len(stream), step))
    assert refusal == refusal_cut
    assert refusal or whole == cut, "events depend on how the bytes are cut"
    live(stream[i : i + step] for i in range(0, len(stream), step))


def _frame(chance: random.Random) -> bytes:
    """Mostly a frame that makes sense where streams 1, 3 and a few even ones are open."""
    kind = chance.choice([*FrameType, 0, 0, 0, 0x7F, 0xFE])
    stream = chance.choice([1, 1, 1, 3, 2, 2, 4, 6, 8, 0, 5])
    payload = bytes(chance.choice([0, 1, 10, 10, 100, 299]))
    if kind in (FrameType.HELLO, FrameType.PING, FrameType.PONG, FrameType.GOAWAY):
        stream = 0
    if kind in (FrameType.PING, FrameType.PONG):
        payload = bytes(8)
    elif kind in (FrameType.ACCEPT, FrameType.EOF, FrameType.BLOCKED):
        payload = b""
    elif kind in (FrameType.WINDOW, FrameType.RETURN):
        payload = struct.pack("!I", chance.choice([0, 1, 100, 1 << 31]))
    elif kind == FrameType.RESET:
        payload = bytes((chance.randrange(12),))
    elif kind == FrameType.OPEN:
        payload = bytes((chance.choice([1, 1, 1, 2, 9]),)) + payload
    return struct.pack("!II", kind << 24 | len(payload), stream) + payload


def _conversation(chance: random.Random) -> bytes:
    hello = frames.encode_hello({"version": "1"})
    sent = [hello, *(frames.encode(FrameType.ACCEPT, n) for n in (1, 3) if chance.random() < 0.8)]
    sent += (_frame(chance) for _ in range(chance.randint(0, 12)))
    data = bytearray(b"".join(sent))
    for _ in range(chance.choice([0, 0, 0, 1, 3])):
        place = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[place] = chance.randrange(256)
        elif chance.random() < 0.5:
            del data[place]
        else:
            data.insert(place, chance.randrange(256))
    return bytes((chance.randrange(256),)) + bytes(data)


def run(seconds: float, seed: int, most: int | None = None) -> int:
    """Run `target` on conversations for so long, or so many; return how many it were."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end and count != most:
        data = _conversation(chance)
        count += 1
        try:
            target(data)
        except BaseException:
            print(f"seed {seed}, input {count}: {data!r}")
            raise
    return count


def main(seconds: float = 30.0, seed: int | None = None) -> None:
    """Fuzz with atheris if there is one, else with our own conversations."""
    try:
        import atheris  # noqa: PLC0415
    except ImportError:
        seed = time.time_ns() if seed is None else seed
        print(f"{run(seconds, seed)} inputs, nothing found (seed {seed})")
        return
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds:.0f}"], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
