from __future__ import annotations

import asyncio
import os
import socket

import pytest

from towline.errors import RedirectError
from towline.redirect import messages
from towline.redirect.channel import Channel


@pytest.fixture
async def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(5)
    channel = Channel(ours)
    with theirs:
        yield channel, theirs
        theirs.close()
        await channel.close()


async def start(asking):
    """Begin a request, and return when it has been sent."""
    task = asyncio.ensure_future(asking)
    await asyncio.sleep(0)
    return task


def answer(theirs, fields=None, descriptors=()):
    socket.send_fds(theirs, [messages.frame(fields or {})], descriptors)


async def test_ask_sends_the_request_and_gives_the_reply(ends):
    channel, theirs = ends
    asking = await start(channel.ask(messages.RedirectTcp(7)))
    assert messages.parse(theirs.recv(1000)) == messages.RedirectTcp(7)
    answer(theirs, {"x": 1})
    reply = await asking
    assert (reply.fields, reply.descriptor) == ({"x": 1}, -1)


async def test_replies_go_to_requests_in_order(ends):
    channel, theirs = ends
    asking = [await start(channel.ask(messages.Hello())) for _ in range(3)]
    for index in range(3):
        answer(theirs, {"index": index})
    assert [(await each).fields["index"] for each in asking] == [0, 1, 2]


async def test_ask_raises_what_the_helper_refused(ends):
    channel, theirs = ends
    asking = await start(channel.ask(messages.Hello()))
    answer(theirs, {"error": "nftables", "reason": "no such chain"})
    with pytest.raises(RedirectError, match="no such chain") as caught:
        await asking
    assert "tow check" in caught.value.hint


async def test_reply_brings_a_descriptor_that_no_child_inherits(ends):
    channel, theirs = ends
    asking = await start(channel.ask(messages.Open()))
    reader, writer = os.pipe()
    answer(theirs, {}, [writer])
    os.close(writer)
    descriptor = (await asking).descriptor
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(descriptor)
    os.close(reader)


@pytest.mark.parametrize("is_answered_first", [True, False])
async def test_descriptor_of_a_cancelled_request_is_closed(ends, is_answered_first):
    channel, theirs = ends
    asking = await start(channel.ask(messages.Open()))
    reader, writer = os.pipe()
    if is_answered_first:  # reply and cancellation meet in one turn of the loop
        asyncio.get_running_loop().call_soon(asking.cancel)
        answer(theirs, {}, [writer])
    else:
        asking.cancel()
        answer(theirs, {}, [writer])
    os.close(writer)
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(asyncio.to_thread(os.read, reader, 1), 5)  # end: nobody holds the pipe
    os.close(reader)


async def test_requests_beyond_the_sockets_buffer_are_sent_in_time(ends):
    channel, theirs = ends
    count = 2000
    asking = [asyncio.ensure_future(channel.ask(messages.RedirectTcp(1 + i))) for i in range(count)]
    await asyncio.sleep(0)

    def serve():
        ports = []
        while len(ports) < count:
            ports.append(messages.parse(theirs.recv(1000)).port)
            answer(theirs)
        return ports

    assert await asyncio.to_thread(serve) == list(range(1, count + 1))
    await asyncio.gather(*asking)


async def test_lost_set_and_requests_fail_when_the_helper_is_gone(ends):
    channel, theirs = ends
    asking = await start(channel.ask(messages.Hello()))
    theirs.close()
    with pytest.raises(RedirectError, match="gone"):
        await asking
    assert channel.lost.is_set()
    with pytest.raises(RedirectError, match="gone"):
        await channel.ask(messages.Hello())


async def test_close_waits_until_the_helper_is_gone(ends):
    channel, theirs = ends
    closing = await start(channel.close())
    assert await asyncio.to_thread(theirs.recv, 10) == b""
    assert not closing.done()
    theirs.close()
    await closing
    assert channel.lost.is_set()


async def test_close_twice_is_as_once(ends):
    channel, theirs = ends
    theirs.close()
    await channel.close()
    await channel.close()
