from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.forwards import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    PORTS,
    cluster,
    echo,
    forward,
    pattern,
)
from tests.fakes.kubelet import Channel, PortError, PortForward
from tests.fakes.switching import Asked, frame, serving
from towline.kube.call import Patience
from towline.kube.channels import MESSAGE_BYTES
from towline.kube.client import Client
from towline.kube.errors import ConnectionFailed, Forbidden
from towline.kube.streams import PortForwardError

if TYPE_CHECKING:
    import ssl

    from towline.kube.config import Tls


@pytest.mark.parametrize("size", [1, 15_000, 70_000, 5_000_000])
@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_bytes_come_back_as_they_were_sent(
    size: int, kind: str, server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    data = pattern(size)
    async with cluster(*((server_tls, trusting) if kind == "tls" else ())) as (pods, client):
        pods.listen(80, echo)
        transport, protocol = await forward(client)

        transport.write(data)
        await protocol.until(size)
        transport.close()

        assert await protocol.end() is None
        # At the end: a buffer that is written to again would show.
        assert protocol.data == data


async def test_writelines_sends_few_messages() -> None:
    parts = [b"ab"] * 1000 + [bytes(MESSAGE_BYTES), b"c"]
    seen: list[int] = []

    async def count(channel: Channel) -> None:
        await channel.read()
        seen.extend(channel.messages)

    async with cluster() as (pods, client):
        pods.listen(80, count)
        transport, protocol = await forward(client)
        transport.writelines(parts)
        transport.close()
        await protocol.end()

    assert seen == [MESSAGE_BYTES, 2001]


async def test_request_is_that_of_the_api() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        PortForward(server)
        transport, protocol = await forward(client, 8080)
        await protocol.end()

    assert server.requests[0].path == "/api/v1/namespaces/dev/pods/web-0/portforward"
    assert server.requests[0].query == {"ports": "8080"}
    assert transport.get_extra_info("port") == 8080
    assert transport.get_extra_info("pod") == "web-0"
    assert transport.get_extra_info("nothing", "else") == "else"


async def test_connection_is_tuned_for_short_ways_behind_bulk(
    server_tls: ssl.SSLContext, trusting: Tls
) -> None:
    async with cluster(server_tls, trusting) as (_, client):
        transport, protocol = await forward(client)
        tcp = transport.get_extra_info("socket")

        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 256 * 1024
        transport.abort()
        await protocol.end()


async def test_port_that_nothing_listens_on_is_told_as_refused() -> None:
    async with cluster() as (_, client):
        transport, protocol = await forward(client, 81)
        error = await protocol.end()

    assert isinstance(error, PortForwardError)
    assert error.refused
    assert error.summary == "Nothing listens on the port 81 of the pod web-0"
    assert error.reason.startswith("error forwarding port 81 to pod abc")
    assert protocol.data == b""
    assert transport.is_closing()


async def test_other_complaints_of_the_node_are_passed_on_behind_the_data() -> None:
    async def break_down(channel: Channel) -> None:
        await channel.write(b"first")
        raise PortError("the sandbox is gone")

    async with cluster() as (pods, client):
        pods.listen(80, break_down)
        _, protocol = await forward(client)
        error = await protocol.end()

    assert isinstance(error, PortForwardError)
    assert not error.refused
    assert error.summary.endswith("the sandbox is gone")
    assert "kubectl describe pod web-0 -n dev" in error.hint
    assert protocol.data == b"first"


@pytest.mark.parametrize(
    ("message", "verb"),
    [
        ('User "ann" cannot get resource "pods/portforward" in API group ""', "get"),
        ("", "create"),  # as Kubernetes 1.35 says it
    ],
)
async def test_missing_right_is_told_with_both_that_it_takes(message: str, verb: str) -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(403, message=f'pods "web-0" is forbidden: {message}')
        with pytest.raises(Forbidden) as caught:
            await forward(client)

    assert f"may not {verb} pods/portforward in the namespace dev" in caught.value.summary
    assert caught.value.hint.startswith("It takes the rights to get and to create pods/portforward")
    assert f"auth can-i {verb} pods --subresource=portforward -n dev" in caught.value.hint


async def test_refusal_by_a_policy_is_left_as_it_is() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        server.fail(403, message='admission webhook "no.forwards" denied the request: never')
        with pytest.raises(Forbidden, match="A policy of the cluster refused") as caught:
            await forward(client)

    assert "rights" not in caught.value.hint


async def test_end_of_the_other_side_is_an_orderly_end() -> None:
    async def say_bye(channel: Channel) -> None:
        await channel.write(b"bye")

    async with cluster() as (pods, client):
        pods.listen(80, say_bye)
        transport, protocol = await forward(client)

        assert await protocol.end() is None
        assert protocol.data == b"bye"
        assert transport.is_closing()
        transport.write(b"nobody")  # is dropped


async def test_ping_is_answered() -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS + frame(PING, b"are you there"))
        assert await asked.read_frame() == (PONG, b"are you there")
        await asked.send(frame(BINARY, b"\0good") + frame(CLOSE, b""))

    async with serving(answer) as server, Client(server.access()) as client:
        _, protocol = await forward(client)

        assert await protocol.end() is None
        assert protocol.data == b"good"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (b"", "the connection to the API server was lost"),
        (frame(CLOSE, b"\x03\xf3no more room"), "closed it with the code 1011: no more room"),
        (frame(BINARY, b"\0x")[:3], "the connection to the API server was lost"),
        (frame(1, b"text"), "the server sent a text message"),
    ],
)
async def test_disorderly_end_is_told_as_an_error(end: bytes, words: str) -> None:
    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS + frame(BINARY, b"\0data") + end)

    async with serving(answer) as server, Client(server.access()) as client:
        _, protocol = await forward(client)
        error = await protocol.end()

    assert isinstance(error, PortForwardError)
    assert words in error.reason
    assert protocol.data == b"data"


async def test_violation_is_closed_with_its_code() -> None:
    answered: list[tuple[int, bytes]] = []

    async def answer(asked: Asked) -> None:
        await asked.switch(behind=PORTS + frame(1, b"text"))
        answered.append(await asked.read_frame())

    async with serving(answer) as server, Client(server.access()) as client:
        _, protocol = await forward(client)
        await protocol.end()

    assert answered == [(CLOSE, b"\x03\xeb")]


async def test_everything_in_one_packet_is_understood() -> None:
    """A port that refuses, behind a proxy that gathers what the server says before it hangs up."""

    async def answer(asked: Asked) -> None:
        complaint = frame(BINARY, b"\1dial: connection refused") + frame(CLOSE, b"\x03\xe8")
        await asked.switch(behind=PORTS + complaint)

    async with serving(answer) as server, Client(server.access()) as client:
        _, protocol = await forward(client)
        error = await protocol.end()

    assert isinstance(error, PortForwardError)
    assert error.refused


async def test_there_is_no_half_close() -> None:
    async with cluster() as (pods, client):
        pods.listen(80, echo)
        transport, protocol = await forward(client)

        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.abort()
        await protocol.end()


async def test_server_that_cannot_be_reached_is_a_connection_failure() -> None:
    async with serving(lambda _: asyncio.sleep(0)) as server:
        access = server.access()
    async with Client(access, Patience(attempts=1)) as client:
        with pytest.raises(ConnectionFailed):
            await forward(client)
