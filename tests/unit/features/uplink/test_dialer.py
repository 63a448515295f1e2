"""The dialer, a real link and a real agent in this process; only the redirect is played."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable
from ipaddress import ip_address
from typing import Any

import pytest

from towline.agent.server import Agent
from towline.features.uplink import named as named_module
from towline.features.uplink.dialer import Dialer, dial_reason
from towline.features.uplink.named import Named
from towline.link.link import Link
from towline.redirect.errors import DialError, Reason
from towline.wire import frames as wire

HERE = ip_address("127.0.0.1")


class Silent:
    def link_up(self) -> None: ...

    def link_down(self, reason: str) -> None: ...

    def link_failing(self, reason: str) -> None: ...


class Redirect:
    """Remembers what is forgotten, after a while in which a program could connect again."""

    def __init__(self) -> None:
        self.forgotten: list[int] = []

    async def forget(self, address: Any, port: int) -> None:
        await asyncio.sleep(0.02)
        self.forgotten.append(port)


class Bench:
    def __init__(self, dialer: Dialer, redirect: Redirect, named: Named) -> None:
        self.dialer = dialer
        self.redirect = redirect
        self.named = named


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    agent = Agent(60)
    server = await loop.create_server(agent.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def connect(factory: Any) -> Awaitable[Any]:
        return loop.create_connection(factory, "127.0.0.1", port)

    async with Link(connect, Silent(), transports=1) as link, asyncio.TaskGroup() as group:
        await link.ready()
        redirect: Any = Redirect()
        named = Named()
        yield Bench(Dialer(link, redirect, named, group), redirect, named)
    server.close()
    await agent.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def local_pair() -> tuple[socket.socket, socket.socket]:
    """A program's socket, and the accepted one that the redirect would hand over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    program.setblocking(False)
    accepted.setblocking(False)
    return program, accepted


async def test_dial_of_a_closed_port_is_refused(bench: Bench) -> None:
    with pytest.raises(DialError) as caught:
        await bench.dialer.dial(HERE, closed_port())
    assert caught.value.reason is Reason.REFUSED


async def test_destination_that_resets_what_it_accepts_was_reached(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reset_at_once(*_: Any, **__: Any) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    loop = asyncio.get_running_loop()
    program, accepted = await local_pair()
    with program:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "create_connection", reset_at_once)
            dialled = await bench.dialer.dial(HERE, 1)
        bench.dialer.accept(accepted, HERE, 1, dialled)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(program, 1), 5)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (wire.Reason.REFUSED, Reason.REFUSED),
        (wire.Reason.TIMED_OUT, Reason.TIMED_OUT),
        (wire.Reason.EXHAUSTED, Reason.HOST_UNREACHABLE),
        (wire.Reason.INTERNAL, Reason.HOST_UNREACHABLE),
        (wire.Reason.GOING_AWAY, Reason.LINK_LOST),
        (wire.Reason.LINK_LOST, Reason.LINK_LOST),
    ],
)
def test_silence_is_for_silent_destinations_and_a_link_that_comes_back(
    answer: wire.Reason, told: Reason
) -> None:
    assert dial_reason(answer) is told


async def test_agent_without_descriptors_is_no_silent_destination(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_socket(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_socket)
    with pytest.raises(DialError) as caught:
        await bench.dialer.dial(HERE, 1)
    assert caught.value.reason is Reason.HOST_UNREACHABLE


async def test_destination_that_changed_its_mind_is_forgotten_before_the_program_is_told(
    bench: Bench,
) -> None:
    program, accepted = await local_pair()
    port = closed_port()
    with program:
        bench.dialer.accept(accepted, HERE, port, None)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(program, 1)
    assert bench.redirect.forgotten == [port]


async def test_destination_behind_a_firewall_is_forgotten_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    program, accepted = await local_pair()
    with program:
        bench.dialer.accept(accepted, HERE, 1, None)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(program, 1)
    assert bench.redirect.forgotten == [1]


async def test_what_the_program_has_said_already_comes_first(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as origin:
        program, accepted = await local_pair()
        with program:
            await loop.sock_sendall(program, b"early")
            bench.dialer.accept(accepted, HERE, origin.getsockname()[1], None)
            origin.setblocking(False)
            served, _ = await loop.sock_accept(origin)
            await loop.sock_sendall(program, b" and late")
            program.shutdown(socket.SHUT_WR)
            said = b""
            while piece := await loop.sock_recv(served, 100):
                said += piece
            assert said == b"early and late"
            served.close()
            assert await loop.sock_recv(program, 1) == b""


async def test_dialled_stream_is_joined_to_its_connection(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as origin:
        connected = await bench.dialer.dial(HERE, origin.getsockname()[1])
        served, _ = origin.accept()
        program, accepted = await local_pair()
        with served, program:
            bench.dialer.accept(accepted, HERE, 1, connected)
            await loop.sock_sendall(program, b"hello")
            served.setblocking(False)
            assert await loop.sock_recv(served, 10) == b"hello"
            program.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(served, 10) == b""
            await loop.sock_sendall(served, b"bye")
            assert await loop.sock_recv(program, 10) == b"bye"


async def test_dialled_stream_that_nobody_takes_is_ended(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as origin:
        connected = await bench.dialer.dial(HERE, origin.getsockname()[1])
        served, _ = origin.accept()
        with served:
            connected.abort()
            served.settimeout(10)
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(served.recv, 1)


async def until_expired(named: Named) -> None:
    async with asyncio.timeout(10):
        while not named.drop_expired():
            await asyncio.sleep(0)


@pytest.mark.parametrize("dialled", [True, False])
async def test_address_is_in_use_until_its_connection_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, dialled: bool
) -> None:
    monkeypatch.setattr(named_module, "KEEP_SECONDS", 0)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as origin:
        port = origin.getsockname()[1]
        connected = await bench.dialer.dial(HERE, port) if dialled else None
        program, accepted = await local_pair()
        bench.dialer.accept(accepted, HERE, port, connected)
        await loop.sock_sendall(program, b"hello")
        origin.setblocking(False)
        served, _ = await loop.sock_accept(origin)
        bench.named.keep(HERE, 0)
        with served, program:
            assert await loop.sock_recv(served, 10) == b"hello"
            assert bench.named.drop_expired() == []
        await until_expired(bench.named)


async def test_address_that_refuses_is_not_in_use(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_module, "KEEP_SECONDS", 0)
    bench.named.keep(HERE, 0)
    with pytest.raises(DialError):
        await bench.dialer.dial(HERE, closed_port())
    await until_expired(bench.named)
