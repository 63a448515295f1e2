"""One socket of the session's side, as this pod has it: datagrams to many, and from many."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Protocol

from towline.agent.context import Run
from towline.agent.errorqueue import Failure
from towline.agent.unconnected import Unconnected
from towline.relay.datagramstream import DatagramStream
from towline.relay.outbox import Allowance
from towline.relay.splice import reason_of
from towline.relay.stream import Stream
from towline.wire import association
from towline.wire.association import Message
from towline.wire.frames import Reason

# A name is looked up again after that.
NAME_SECONDS = 30.0
# So many names are known at a time, and so many datagrams to one wait until its address is.
NAMES = 256
KEPT_DATAGRAMS = 64


class Medium(Protocol):
    """What the sockets of an association are, and what is sent by them."""

    def open(self, family: int) -> socket.socket:
        """Make a socket. Raises OSError; PermissionError when this pod may not."""

    def pack(self, family: int, number: int, data: bytes) -> tuple[bytes, int]:
        """What is to be sent for data to a peer's number, and to which port."""

    def unpack(self, data: bytes, port: int) -> tuple[int, bytes] | None:
        """A peer's number, and its data, in what has come, or was sent and is quoted."""


class Udp:
    """UDP: a peer's number is its port."""

    def open(self, family: int) -> socket.socket:
        """Make a socket, whose port is the same for all peers."""
        return socket.socket(family, socket.SOCK_DGRAM)

    def pack(self, family: int, number: int, data: bytes) -> tuple[bytes, int]:
        """As it is."""
        return data, number

    def unpack(self, data: bytes, port: int) -> tuple[int, bytes] | None:
        """As it is."""
        return port, data


class Association:
    """Serves one stream of messages until that ends; it has a socket for each family in use.

    Where this pod may not have such a socket the stream is reset with PROHIBITED.
    """

    def __init__(self, stream: Stream, medium: Medium, run: Run, allowance: Allowance) -> None:
        self._stream = DatagramStream(stream, self._said, self._over, allowance=allowance)
        self._medium = medium
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, Unconnected] = {}
        self._names: dict[str, _Name] = {}
        self._stream.accept()

    def _over(self, _: Reason | None) -> None:
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        self._names.clear()

    # -- from the session

    def _said(self, data: bytes) -> None:
        try:
            message = association.decode(data)
        except ValueError:
            return
        if message.to_name:
            self._send_to_name(message)
        else:
            self._send(message, message.host)

    def _send(self, message: Message, host: str) -> None:
        if self._stream.closed:
            return
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            using = self._sockets.get(family) or self._open(family)
        except PermissionError:
            self._stream.end(Reason.PROHIBITED)
            self._over(None)
            return
        except OSError as error:
            self._tell_failure(message, reason_of(error))
            return
        data, port = self._medium.pack(family, message.number, message.data)
        using.send(data, (host, port))

    def _open(self, family: int) -> Unconnected:
        made = self._medium.open(family)
        using = self._sockets[family] = Unconnected(made, self._heard, self._failed)
        return using

    def _send_to_name(self, message: Message) -> None:
        name = self._names.get(message.host)
        if name is None or (name.address and name.until < self._loop.time()):
            if len(self._names) >= NAMES:
                del self._names[next(iter(self._names))]
            name = self._names[message.host] = _Name()
            self._run(self._resolve(message.host, name))
        if name.address:
            self._send(message, name.address)
        elif len(name.kept) < KEPT_DATAGRAMS:
            name.kept.append(message)

    async def _resolve(self, host: str, name: _Name) -> None:
        try:
            found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            self._names.pop(host, None)
            for message in name.kept:
                self._tell_failure(message, Reason.UNRESOLVED)
            return
        name.address = str(found[0][4][0])
        name.until = self._loop.time() + NAME_SECONDS
        for message in name.kept:
            self._send(message, name.address)
        name.kept.clear()

    # -- from the network

    def _heard(self, data: bytes, address: Any) -> None:
        known = self._medium.unpack(data, address[1])
        if known is not None:
            self._tell(Message(_plain(address[0]), *known))

    def _failed(self, failure: Failure) -> None:
        if failure.reason is None:
            return
        known = self._medium.unpack(failure.quote, failure.address[1])
        if known is not None:
            message = Message(_plain(failure.address[0]), *known)
            self._tell_failure(message, failure.reason)

    def _tell_failure(self, message: Message, reason: Reason) -> None:
        if reason:  # INTERNAL says nothing
            self._tell(message._replace(failure=reason))

    def _tell(self, message: Message) -> None:
        try:
            data = association.encode(message)
        except ValueError:
            return  # longer than what a session can hand on
        self._stream.send(data)


class _Name:
    """A name among the peers: its address, once that is known, and what waits for that."""

    def __init__(self) -> None:
        self.address = ""
        self.until = 0.0  # loop time
        self.kept: list[Message] = []


def _plain(host: str) -> str:
    """An address without its zone, which means nothing at the other end."""
    return host.partition("%")[0]
