from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzz_websocket import reference
from towline.kube import channels
from towline.kube.channels import MESSAGE_BYTES, Channels, frames
from towline.kube.config import Tls
from towline.kube.tls import client_context

sizes = st.one_of(
    st.integers(0, 100),
    st.sampled_from([16 * 1024, 16 * 1024 + 1, MESSAGE_BYTES - 1, MESSAGE_BYTES, 300_000]),
)


def as_server_sends(data: bytes) -> bytes:
    """A client's frames without their masks, which are zero."""
    out = b""
    while data:
        size = data[1] & 0x7F
        start = {126: 4, 127: 10}.get(size, 2)
        size = int.from_bytes(data[2:start], "big") if start > 2 else size
        assert data[start : start + 4] == bytes(4)
        payload = data[start + 4 : start + 4 + size]
        out += data[:1] + bytes((data[1] & 0x7F,)) + data[2:start] + payload
        data = data[start + 4 + size :]
    return out


def messages(parts: list[bytes]) -> list[bytes]:
    told = reference(as_server_sends(b"".join(frames(7, parts))))
    assert all(kind == "message" for kind, _ in told)
    return [message for _, message in told if isinstance(message, bytes)]


@given(st.lists(sizes, max_size=6))
def test_frames_carry_all_parts_in_as_few_messages_as_can_be(lengths: list[int]) -> None:
    numbers = itertools.cycle(range(256))
    parts = [bytes(next(numbers) for _ in range(length)) for length in lengths]

    sent = messages(parts)

    assert all(message[0] == 7 for message in sent)
    assert b"".join(message[1:] for message in sent) == b"".join(parts)
    assert len(sent) == -(-sum(lengths) // MESSAGE_BYTES)


def test_frames_of_little_are_one_buffer() -> None:
    assert len(frames(0, [b"a", b"b" * 1000])) == 1


def test_frames_of_bulk_do_not_copy_it() -> None:
    bulk = bytes(200_000)

    views = [view for view in frames(0, [bulk]) if isinstance(view, memoryview)]

    assert all(view.obj is bulk for view in views)
    assert sum(map(len, views)) == len(bulk)


def test_frames_take_any_kind_of_buffer() -> None:
    assert messages([bytearray(b"ab"), memoryview(b"xcdx")[1:3]]) == [b"\x07abcd"]


class Leaking(asyncio.Transport):
    """Has so much to send at each look, until it is cut."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self._sizes = iter(sizes)
        self.cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def get_write_buffer_size(self) -> int:
        return next(self._sizes)

    def write(self, data: Any) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        self.cut.set_result(None)

    @property
    def left(self) -> int:
        return len(list(self._sizes))


class Attached:
    """Stands for an upgraded connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport


@pytest.mark.parametrize(
    ("sizes", "unseen"),
    [
        ([300, 200, 100, 0, 0, 0], 1),  # all is sent, but the server does not close
        ([300, 200, 200, 100], 1),  # it got stuck
        ([0, 0, 0], 1),
    ],
)
async def test_closing_goes_on_as_long_as_it_makes_progress(
    sizes: list[int], unseen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "CLOSE_SECONDS", 0)
    transport = Leaking(*sizes)
    upgraded: Any = Attached(transport)
    receiver: Any = None

    Channels(upgraded, receiver).close()
    await transport.cut

    assert transport.left == unseen


class Broken(asyncio.Transport):
    """Has failed, which it will tell soon."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        raise AssertionError("asyncio complains, on stderr, of who does so again and again")

    def writelines(self, list_of_data: Any) -> None:
        self.write(list_of_data)


async def test_nothing_is_written_to_a_connection_that_is_broken() -> None:
    upgraded: Any = Attached(Broken())
    receiver: Any = None
    Channels(upgraded, receiver).send(0, [b"x"])


async def test_nothing_is_written_to_tls_whose_connection_is_broken(
    server_tls: ssl.SSLContext, trusting: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    """Of itself TLS does not say so before the loop's next turn, in which it would be too late."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=server_tls)
    loop, tls = asyncio.get_running_loop(), client_context(trusting)
    where = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, *where, ssl=tls)
    carrier = transport.get_extra_info("socket")
    carrier.shutdown(socket.SHUT_WR)
    upgraded: Any = Attached(transport)
    receiver: Any = None
    broken = Channels(upgraded, receiver)
    for _ in range(20):
        broken.send(0, [b"x"])
    transport.abort()
    server.close()
    assert caplog.messages == []
