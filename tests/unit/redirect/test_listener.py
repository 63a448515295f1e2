from __future__ import annotations

import asyncio
import socket

import pytest

from towline.redirect.listener import Listener, reset


@pytest.fixture
async def listener():
    made = Listener(lambda connection, flow: pytest.fail(f"{connection} {flow}"), ipv6=True)
    yield made
    made.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connection_to_the_listener_itself_is_reset(listener, host):
    with (
        socket.create_connection((host, listener.port), timeout=5) as client,
        pytest.raises(ConnectionResetError),
    ):
        await asyncio.to_thread(client.recv, 1)


async def test_listener_without_ipv6_has_none():
    listener = Listener(lambda connection, flow: None, ipv6=False)
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", listener.port))
    listener.close()


async def test_close_frees_the_port_and_may_be_repeated(listener):
    listener.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port), timeout=5)


def test_reset_is_seen_as_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=5)
        connection, _ = server.accept()
    reset(connection)
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
