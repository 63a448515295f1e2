"""A nameserver on real loopback sockets whose answers a test decides."""

import asyncio
import contextlib
import socket


class FakeNameserver:
    """Serves UDP and TCP on one port of `host`; `answer(data, tcp)` returns replies to send.

    For None nothing is sent, and a TCP connection is left open.
    """

    def __init__(self, answer, host="127.0.0.1", port=0):
        self.answer = answer
        self.host = host
        self.port = port
        self.received = []
        self.sources = []
        self._stack = contextlib.ExitStack()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.create_server((self.host, self.port), family=family)
        self.port = listening.getsockname()[1]
        server = await asyncio.start_server(self._serve, sock=listening)
        self._stack.callback(server.close)
        self._datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self.host, self.port)
        )
        self._stack.callback(self._datagrams.close)
        return self

    async def __aexit__(self, *_):
        self._stack.close()

    def send(self, data):
        """Send a datagram to who asked last."""
        self._datagrams.sendto(data, self.sources[-1])

    def replies(self, data, tcp, source):
        self.received.append((data, tcp))
        self.sources.append(source)
        return self.answer(data, tcp)

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            replies = self.replies(data, True, writer.get_extra_info("peername"))
            for reply in replies or ():
                writer.write(len(reply).to_bytes(2, "big") + reply)
            if replies is None:
                await reader.read()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        for reply in self._server.replies(data, False, addr) or ():
            self._transport.sendto(reply, addr)
