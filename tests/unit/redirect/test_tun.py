from __future__ import annotations

import asyncio
import socket

import pytest

from towline.redirect.tun import Tun


@pytest.fixture
async def ends():
    """A Tun on one end of a socket that, like the device, keeps packets apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.settimeout(5)
    tun = Tun(ours.detach())
    with theirs:
        yield tun, theirs
        tun.close()


async def receive(tun, count):
    packets = []
    done = asyncio.Event()

    def receiver(packet):
        packets.append(packet)
        if len(packets) == count:
            done.set()

    tun.receive(receiver)
    await asyncio.wait_for(done.wait(), 5)
    return packets


async def test_packets_received_whole_and_in_order(ends):
    tun, theirs = ends
    sent = [bytes([index]) * (index + 1) for index in range(150)]

    def send():
        for packet in sent:
            theirs.send(packet)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(send))
        assert await receive(tun, 150) == sent


async def test_packets_wait_for_a_receiver(ends):
    tun, theirs = ends
    theirs.send(b"early")
    tun.receive(None)
    await asyncio.sleep(0)
    assert await receive(tun, 1) == [b"early"]


async def test_send_hands_the_packet_over(ends):
    tun, theirs = ends
    tun.send(b"packet")
    assert theirs.recv(100) == b"packet"


async def test_closed_device_takes_no_packets_and_no_receiver(ends):
    tun, theirs = ends
    tun.close()
    tun.close()
    tun.send(b"lost")
    tun.receive(lambda packet: None)
    assert theirs.recv(1) == b""


async def test_receiver_that_closes_the_device_ends_the_batch(ends):
    tun, theirs = ends
    seen = []
    ended = asyncio.Event()

    def receiver(packet):
        seen.append(packet)
        tun.close()
        ended.set()

    theirs.send(b"one")
    theirs.send(b"two")
    tun.receive(receiver)
    await asyncio.wait_for(ended.wait(), 5)
    assert seen == [b"one"]
