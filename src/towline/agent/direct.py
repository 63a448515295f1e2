"""Transports to this pod's own address, past the Kubernetes API, for the session alone.

It brings a key and a certificate over a transport that the API has given it: nobody else has them.
Each end proves by TLS that it has the key, and takes no other certificate of the other end.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable

from towline.relay import identity
from towline.relay.request import Message, StreamReset
from towline.relay.stream import Stream
from towline.wire.frames import Reason

HANDSHAKE_SECONDS = 5.0
_BACKLOG = 16


class Direct:
    """Listens from the first session on that asks for it; a new key takes the place of the old.

    `accept` makes the protocol of a transport, once that has shown that it has the key.
    """

    def __init__(self, accept: Callable[[], asyncio.Protocol]) -> None:
        self._accept = accept
        self._key = b""
        self._server: asyncio.AbstractServer | None = None
        self._port = 0

    async def serve(self, stream: Stream, asked: Message) -> None:
        """Take key and certificate, in PEM, and answer with the port (2 bytes), or reset.

        Without a key nobody is listened for any more, and the port is 0.
        """
        try:
            await self._listen(await asked.done)
        except StreamReset:
            return
        except (OSError, ValueError):  # what came is no key, or this pod can't
            stream.reset(Reason.UNSUPPORTED)
            return
        asked.answer(self._port.to_bytes(2, "big"))

    def close(self) -> None:
        """Listen no more; transports go on. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server, self._port = None, 0

    async def _listen(self, key: bytes) -> None:
        if self._server is not None and key == self._key:
            return
        if not key:
            self.close()
            return
        context = identity.context(key, server=True)
        self.close()
        listener = _listener()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Gate(self._accept),
            sock=listener,
            ssl=context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )
        self._key, self._port = key, listener.getsockname()[1]


class _Gate(asyncio.Protocol):
    """Whoever has not shown the key is nobody to the agent: asyncio asks for protocols before."""

    def __init__(self, accept: Callable[[], asyncio.Protocol]) -> None:
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The key was shown."""
        protocol = self._accept()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _listener() -> socket.socket:
    """Listen on every address of this pod."""
    more: dict[str, Any] = {}
    if socket.has_dualstack_ipv6():
        more = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    return socket.create_server(("", 0), **more)
