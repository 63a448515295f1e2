"""What a sidecar keeps of connections to its pod's program is cut while nothing is under way."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from tests.netns import machine, pods
from tests.netns.pods import POD4, POD6
from towline.agent.severing import sever

pytestmark = pytest.mark.usefixtures("traceless")

PORT, OTHER_PORT = 8080, 8081
SOURCES = ("127.0.0.6", "::6")
SECONDS = 20
ENDS = [(POD4, SOURCES[0]), (POD6, SOURCES[1])]


class Scene:
    """A pod with a program, and connections to that from within it."""

    def __init__(self, stack, pod):
        self.pod = pod
        self._stack = stack
        self._listening = {
            port: stack.enter_context(pod.listen(port)) for port in (PORT, OTHER_PORT)
        }
        with pod.inside():
            machine.run("ip -6 address add ::6/128 dev lo nodad")

    def connection(self, host, source="", port=PORT):
        """A connection, and the program's end of it."""
        with self.pod.inside():
            client = socket.create_connection(
                (host, port), SECONDS, (source, 0) if source else None
            )
        self._stack.enter_context(client)
        return client, self._stack.enter_context(self._listening[port].accept()[0])

    def answered(self, *where, **what):
        """One on which a request has been answered."""
        client, program = self.connection(*where, **what)
        client.sendall(b"?")
        assert program.recv(10) == b"?"
        program.sendall(b"!")
        assert client.recv(10) == b"!"
        return client, program

    async def sever(self):
        with self.pod.inside():
            severing = asyncio.ensure_future(sever(tuple(map(ip_address, SOURCES)), {PORT}))
            # It opens its socket here.
            await asyncio.sleep(0)
        return severing


@pytest.fixture
def scene(_namespace):
    with ExitStack() as stack:
        yield Scene(stack, stack.enter_context(pods.running()))


@pytest.mark.parametrize(("host", "source"), ENDS)
async def test_idle_connection_of_the_sidecar_is_cut_and_no_other(scene, host, source):
    idle, _ = scene.answered(host, source)
    others = [
        scene.answered(host, source, port=OTHER_PORT),
        scene.answered(host),
    ]
    async with asyncio.timeout(SECONDS):
        await (await scene.sever())
    with pytest.raises(ConnectionError):
        idle.recv(10)
    for client, program in others:
        client.sendall(b"?")
        assert program.recv(10) == b"?"


async def test_request_that_is_under_way_is_answered_first(scene):
    client, program = scene.connection(POD4, SOURCES[0])
    client.sendall(b"?")
    assert program.recv(10) == b"?"
    severing = await scene.sever()
    # Some looks later it is as it was, since there is no answer yet.
    await asyncio.sleep(0.2)
    assert not severing.done()
    program.sendall(b"!")
    async with asyncio.timeout(SECONDS):
        await severing
    assert client.recv(10) == b"!"
    with pytest.raises(ConnectionError):
        client.recv(10)


async def test_connection_that_is_made_meanwhile_stays(scene):
    waiting, program = scene.connection(POD4, SOURCES[0])
    waiting.sendall(b"?")
    assert program.recv(10) == b"?"
    severing = await scene.sever()
    later, its_program = scene.answered(POD4, SOURCES[0])
    program.sendall(b"!")
    async with asyncio.timeout(SECONDS):
        await severing
    later.sendall(b"?")
    assert its_program.recv(10) == b"?"
