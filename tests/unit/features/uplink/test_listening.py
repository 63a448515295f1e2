"""Local ports: had at all addresses or not at all, and whose they are if not ours."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from towline.errors import SessionError, UsageError
from towline.features.uplink import listening

KINDS = [socket.SOCK_STREAM, socket.SOCK_DGRAM]


def close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_free_port_is_the_same_on_both_loopbacks(kind: socket.SocketKind) -> None:
    bound = listening.bind((), 0, kind)
    assert {each.getsockname()[0] for each in bound} <= {"127.0.0.1", "::1"}
    assert len({each.getsockname()[1] for each in bound}) == 1
    close(bound)


@pytest.mark.parametrize("kind", KINDS)
def test_taken_port_is_refused_with_who_has_it(kind: socket.SocketKind) -> None:
    bound = listening.bind(("127.0.0.1",), 0, kind)
    port = bound[0].getsockname()[1]
    with pytest.raises(SessionError) as caught:
        listening.bind(("127.0.0.1",), port, kind)
    assert f"127.0.0.1:{port}" in caught.value.summary
    assert f"(process {os.getpid()})" in caught.value.summary
    close(bound)


def test_port_is_free_again_when_one_address_of_several_could_not_be_had() -> None:
    taken = listening.bind(("127.0.0.2",), 0, socket.SOCK_STREAM)
    port = taken[0].getsockname()[1]
    with pytest.raises(SessionError):
        listening.bind(("127.0.0.1", "127.0.0.2"), port, socket.SOCK_STREAM)
    close(listening.bind(("127.0.0.1",), port, socket.SOCK_STREAM))
    close(taken)


@pytest.mark.parametrize("address", ["192.0.2.1", "no address"])
def test_address_of_another_machine_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=address):
        listening.bind((address,), 0, socket.SOCK_STREAM)


def test_nobody_is_known_to_have_a_port_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert listening.holder(80, tmp_path) == ""


async def test_nothing_is_lost_that_comes_before_a_connection_is_joined() -> None:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[asyncio.Transport] = loop.create_future()
    server = await loop.create_server(lambda: listening.Arrival(arrived.set_result), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.sendall(b"hello")
        transport = await arrived
        for _ in range(10):
            await asyncio.sleep(0)
        reader = asyncio.StreamReader()
        transport.set_protocol(asyncio.StreamReaderProtocol(reader))
        transport.resume_reading()
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        transport.abort()
    server.close()


FIB = """Main:
  +-- 0.0.0.0/0 3 0 5
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
Local:
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 198.51.100.1
           /32 host LOCAL
"""
IF_INET6 = """00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
"""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("0.0.0.0", ["192.0.2.7", "198.51.100.1"]),
        ("::", ["2001:db8::7"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("192.0.2.7", ["192.0.2.7"]),
    ],
)
def test_any_address_stands_for_those_by_which_others_reach_it(
    tmp_path: Path, address: str, found: list[str]
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(FIB)
    (tmp_path / "net/if_inet6").write_text(IF_INET6)
    assert listening.reached_at(address, tmp_path) == found


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_any_address_is_told_where_there_is_nothing_to_read(tmp_path: Path, address: str) -> None:
    assert listening.reached_at(address, tmp_path) == [address]
