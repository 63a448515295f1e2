from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from tests.unit.relay.links import MemoryTransport, tcp_pair
from towline.relay import sockets


async def test_options_are_set_on_tcp_sockets() -> None:
    near, far = tcp_pair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)

    sockets.send_at_once(transport)
    sockets.keep_send_buffer_short(transport)

    assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert near.getsockopt(socket.IPPROTO_TCP, 25) == sockets.UNSENT_BYTES
    transport.abort()
    far.close()


async def test_connection_that_is_none_tells_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as refused:
        address = server.getsockname()
        near, far = tcp_pair()
        made, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
        assert sockets.failure(made) is None
        made.abort()
        far.close()
        server.close()
        refused.setblocking(False)
        refused.connect_ex(address)
        failed = MemoryTransport(asyncio.Protocol())
        failed.get_extra_info = {"socket": refused}.get
        failure = sockets.failure(failed)
        assert isinstance(failure, ConnectionRefusedError)
        assert sockets.failure(failed).errno == errno.ENOTCONN, "it is told once"
        assert sockets.failure(MemoryTransport(asyncio.Protocol())) is None


async def test_other_transports_are_left_as_they_are() -> None:
    near, far = socket.socketpair()
    unix, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    memory = MemoryTransport(asyncio.Protocol())

    for transport in (unix, memory):
        sockets.send_at_once(transport)
        sockets.keep_send_buffer_short(transport)
        sockets.abort_with_reset(transport)

    assert memory.ended
    far.close()


async def test_option_for_a_closed_socket_is_forgotten() -> None:
    near, far = tcp_pair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.abort()
    far.close()
    await asyncio.sleep(0)

    sockets.send_at_once(transport)


async def test_connection_of_a_process_that_is_killed_is_reset() -> None:
    near, far = tcp_pair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    sockets.reset_if_cut_off(transport)
    transport.close()  # as the kernel does for a dead process

    far.settimeout(5)
    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(far.recv, 1)
    far.close()


async def test_connection_that_ends_in_order_is_not_reset() -> None:
    near, far = tcp_pair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    sockets.reset_if_cut_off(transport)
    transport.write(b"the end")
    sockets.close_in_order(transport)

    far.settimeout(5)
    assert await asyncio.to_thread(far.recv, 10) == b"the end"
    assert await asyncio.to_thread(far.recv, 10) == b""
    far.close()
