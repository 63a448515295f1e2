"""Requests to the helper and its replies, over their one socket, in order."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from towline.errors import RedirectError, TowlineError
from towline.redirect import messages

if TYPE_CHECKING:
    from towline.redirect.messages import Request

_CLOSE_SECONDS = 2.0  # a helper that is well is gone within a millisecond

_HINTS = {
    "nftables": "Run `tow check`: it says what nftables needs here.",
    "kernel": "Run `tow check`: it says what the kernel needs here.",
    "rank": "End some of the sessions that `tow status` lists.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the helper answered; `descriptor` is the caller's to close, -1 when there is none."""

    fields: dict[str, object]
    descriptor: int


class Channel:
    """The session's end of the helper's socket, which it owns.

    `lost` is set when the helper is gone: it died, or :meth:`close` was called.
    """

    def __init__(self, peer: socket.socket) -> None:
        self.lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket = peer
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._unsent: deque[bytes] = deque()
        peer.setblocking(False)
        self._loop.add_reader(peer, self._receive)

    async def ask(self, request: Request) -> Reply:
        """Send a request and wait for its reply; raises RedirectError when it was not done.

        Requests are carried out in the order of the calls. One whose caller is cancelled is
        carried out all the same.
        """
        if self.lost.is_set():
            raise _gone()
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting.append(reply)
        self._unsent.append(messages.encode(request))
        if len(self._unsent) == 1:
            self._send()
        try:
            return await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled() and not reply.exception():
                _discard(reply.result().descriptor)  # it came in the very same moment
            raise

    async def close(self) -> None:
        """Make the helper let go of everything, and wait for it. Idempotent."""
        if not self.lost.is_set():
            try:
                self._socket.shutdown(socket.SHUT_WR)
                # Not asyncio.timeout: in Python 3.11 it does not work in a cancelled task.
                await asyncio.wait_for(self.lost.wait(), _CLOSE_SECONDS)
            except (OSError, TimeoutError):
                pass
        self._lose()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._socket.send(self._unsent[0], socket.MSG_NOSIGNAL)
                self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._send)
            return
        except OSError:
            self._lose()
            return
        self._loop.remove_writer(self._socket)

    def _receive(self) -> None:
        while not self.lost.is_set():
            try:
                data, descriptor = _receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                data, descriptor = b"", -1
            if not data:
                self._lose()
                return
            self._settle(messages.unframe(data)[0], descriptor)

    def _settle(self, fields: dict[str, object], descriptor: int) -> None:
        waiting = self._waiting.popleft()
        if waiting.done():  # its caller was cancelled
            _discard(descriptor)
        elif "error" in fields:
            waiting.set_exception(_refused(fields))
        else:
            waiting.set_result(Reply(fields, descriptor))

    def _lose(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self.lost.set()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_gone())
        self._waiting.clear()
        self._unsent.clear()


def _receive(peer: socket.socket) -> tuple[bytes, int]:
    """Receive a message and the descriptor that came with it, which no child shall inherit.

    Not by socket.recv_fds(): it does not pass flags on.
    """
    space = socket.CMSG_SPACE(array("i").itemsize)
    data, ancillary, _, _ = peer.recvmsg(messages.MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for _, _, numbers in ancillary:
        descriptors.frombytes(numbers)
    return data, descriptors[0] if descriptors else -1


def _discard(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _gone() -> TowlineError:
    return RedirectError(
        "The helper that changes this machine's network is gone.", "Start the session again."
    )


def _refused(fields: dict[str, object]) -> TowlineError:
    hint = _HINTS.get(str(fields["error"]), "")
    if fields["error"] == "rank":
        return RedirectError("There are too many sessions on this machine.", hint)
    if fields["error"] == "resolved":
        return RedirectError(
            f"systemd-resolved does not take the session's nameserver: {fields.get('reason')}",
            "Run `resolvectl status`: it says how systemd-resolved is doing.",
        )
    return RedirectError(f"This machine refused the redirect: {fields.get('reason')}", hint)
