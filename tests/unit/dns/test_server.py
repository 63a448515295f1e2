"""The two faces of the DNS server: one port, framing, limits, and what clients may do to it."""

import asyncio
import contextlib
import errno
import socket

import pytest

from towline.dns import server as module
from towline.dns.server import Server, ServerError, bind_loopback

FAMILIES = ("127.0.0.1", "::1")


async def echo(data, tcp):
    return (b"tcp " if tcp else b"udp ") + data


def frame(data):
    return len(data).to_bytes(2, "big") + data


async def read_frame(reader):
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


@contextlib.asynccontextmanager
async def serving(handle=echo):
    listeners = bind_loopback()
    async with asyncio.TaskGroup() as group:
        tasks = []

        def spawn(work):
            tasks.append(group.create_task(work))
            return tasks[-1]

        server = Server(listeners, handle, spawn)
        await server.start()
        try:
            yield listeners.port
        finally:
            server.close()
            for task in tasks:
                task.cancel()


@contextlib.asynccontextmanager
async def connection(port, host="127.0.0.1"):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def datagrams(port, host="127.0.0.1"):
    """Yield a client's `send(data)` and awaitable `receive()`."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))
        yield sock.send, lambda: loop.sock_recv(sock, 65536)


def test_all_sockets_have_one_port():
    listeners = bind_loopback()
    try:
        names = [sock.getsockname()[:2] for sock in (*listeners.udp, *listeners.tcp)]
        assert sorted(names) == sorted((host, listeners.port) for host in FAMILIES * 2)
        assert listeners.addresses == FAMILIES
    finally:
        listeners.close()


class CrowdedSocket(socket.socket):
    """A socket whose first binds to a given port find it taken."""

    taken = 2

    def bind(self, address):
        if address[1] and CrowdedSocket.taken:
            CrowdedSocket.taken -= 1
            raise OSError(errno.EADDRINUSE, "taken")
        super().bind(address)


def test_another_port_is_tried_when_one_is_taken_for_the_other_transport(monkeypatch):
    monkeypatch.setattr(module.socket, "socket", CrowdedSocket)
    monkeypatch.setattr(CrowdedSocket, "taken", 2)

    bind_loopback().close()

    assert CrowdedSocket.taken == 0


def test_no_free_port_is_an_error_that_leaves_no_socket(monkeypatch):
    monkeypatch.setattr(module.socket, "socket", CrowdedSocket)
    monkeypatch.setattr(CrowdedSocket, "taken", 10**6)

    with pytest.raises(ServerError):
        bind_loopback()


def test_machine_without_ipv6_has_one_address(monkeypatch):
    # Of the documentation's range, so never an address of this machine.
    loopback = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "2001:db8::1"))
    monkeypatch.setattr(module, "_LOOPBACK", loopback)

    listeners = bind_loopback()

    assert listeners.addresses == ("127.0.0.1",)
    listeners.close()


def test_other_errors_of_the_system_are_told(monkeypatch):
    monkeypatch.setattr(module, "_LOOPBACK", ((socket.AF_INET, "192.0.2.1"),))

    with pytest.raises(ServerError, match="assign"):
        bind_loopback()


@pytest.mark.parametrize("host", FAMILIES)
async def test_datagram_is_answered_to_its_sender(host):
    async with serving() as port, datagrams(port, host) as (send, receive):
        send(b"hello")

        assert await receive() == b"udp hello"


async def test_datagram_without_a_reply_is_dropped():
    async def handle(data, tcp):
        return None if data == b"junk" else data

    async with serving(handle) as port, datagrams(port) as (send, receive):
        send(b"junk")
        send(b"good")

        assert await receive() == b"good"


async def test_datagrams_beyond_the_limit_are_dropped_and_room_is_made_again(monkeypatch):
    monkeypatch.setattr(module, "_MAX_DATAGRAMS_IN_WORK", 2)
    gate, begun = asyncio.Event(), []

    async def handle(data, tcp):
        begun.append(data)
        await gate.wait()
        return data

    async with serving(handle) as port, datagrams(port) as (send, receive):
        for data in (b"1", b"2", b"3"):
            send(data)
        for _ in range(10):  # loopback delivers at once, and each turn of the loop reads one
            await asyncio.sleep(0)
        gate.set()
        assert {await receive(), await receive()} == {b"1", b"2"}
        send(b"5")
        assert await receive() == b"5"
        assert begun == [b"1", b"2", b"5"]


@pytest.mark.parametrize("host", FAMILIES)
async def test_connection_carries_several_messages(host):
    async with serving() as port, connection(port, host) as (reader, writer):
        for data in (b"one", b"", b"x" * 65000):
            writer.write(frame(data))
            assert await read_frame(reader) == b"tcp " + data


async def test_pipelined_messages_are_answered_as_each_is_ready():
    gate = asyncio.Event()

    async def handle(data, tcp):
        if data == b"slow":
            await gate.wait()
        return data

    async with serving(handle) as port, connection(port) as (reader, writer):
        writer.write(frame(b"slow") + frame(b"fast"))
        assert await read_frame(reader) == b"fast"
        gate.set()
        assert await read_frame(reader) == b"slow"


async def test_message_may_come_in_pieces():
    async with serving() as port, connection(port) as (reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(b"hello") + frame(b"again"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

        assert await read_frame(reader) == b"tcp hello"
        assert await read_frame(reader) == b"tcp again"


async def test_client_that_has_ended_its_side_still_gets_its_replies():
    gate = asyncio.Event()

    async def handle(data, tcp):
        await gate.wait()
        return data

    async with serving(handle) as port, connection(port) as (reader, writer):
        writer.write(frame(b"one") + frame(b"two") + b"\0")
        writer.write_eof()
        gate.set()

        assert {await read_frame(reader), await read_frame(reader)} == {b"one", b"two"}
        assert await reader.read() == b""


async def test_connection_works_on_a_bounded_number_of_messages(monkeypatch):
    monkeypatch.setattr(module, "_MAX_PIPELINED", 3)
    gate, in_work, most = asyncio.Event(), 0, 0

    async def handle(data, tcp):
        nonlocal in_work, most
        in_work += 1
        most = max(most, in_work)
        await gate.wait()
        await asyncio.sleep(0)
        in_work -= 1
        return data

    async with serving(handle) as port, connection(port) as (reader, writer):
        sent = [str(number).encode() for number in range(20)]
        writer.write(b"".join(map(frame, sent)))
        while in_work < 3:
            await asyncio.sleep(0)
        gate.set()

        assert sorted([await read_frame(reader) for _ in sent]) == sorted(sent)
        assert most == 3


async def test_client_that_does_not_read_is_not_served_on():
    answered = 0

    async def handle(data, tcp):
        nonlocal answered
        answered += 1
        return b"x" * 65000

    async with serving(handle) as port, connection(port) as (reader, writer):
        flood = frame(b"q") * 5000
        writer.write(flood)
        before = -1
        while answered != before:
            before = answered
            async with connection(port) as (other, asking):  # lets the server's work come to rest
                asking.write(frame(b"q"))
                await read_frame(other)
                answered -= 1
        assert answered < 1000
        for _ in range(answered + 10):
            await read_frame(reader)


async def test_junk_closes_the_connection(monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 3600)

    async def handle(data, tcp):
        return None

    async with serving(handle) as port, connection(port) as (reader, writer):
        writer.write(frame(b"junk"))

        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.02)
    async with serving() as port, connection(port) as (reader, writer):
        writer.write(b"\0")

        assert await reader.read() == b""


async def test_connections_beyond_the_limit_are_refused_and_room_is_made_again(monkeypatch):
    monkeypatch.setattr(module, "_MAX_CONNECTIONS", 1)
    async with serving() as port:
        async with connection(port) as (reader, writer):
            writer.write(frame(b"one"))
            await read_frame(reader)
            async with connection(port) as (refused, _):
                with contextlib.suppress(ConnectionResetError):
                    assert await refused.read() == b""
            writer.write(frame(b"two"))
            assert await read_frame(reader) == b"tcp two"
            writer.write_eof()
            assert await reader.read() == b""
        async with connection(port) as (reader, writer):
            writer.write(frame(b"three"))
            assert await read_frame(reader) == b"tcp three"


async def test_reset_while_a_reply_is_made_harms_nobody():
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handle(data, tcp):
        if data == b"slow":
            begun.set()
            await gate.wait()
        return data

    async with serving(handle) as port:
        async with connection(port) as (_, writer):
            writer.write(frame(b"slow"))
            await begun.wait()
            writer.transport.abort()
        gate.set()
        async with connection(port) as (reader, writer):
            writer.write(frame(b"next"))
            assert await read_frame(reader) == b"next"
