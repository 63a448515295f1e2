"""A link by this process's own input and output: for an agent that a session runs by exec."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable

_STDIN, _STDOUT = 0, 1
_BYTES = 64 * 1024


async def connect(
    protocol_factory: Callable[[], asyncio.Protocol], ended: Callable[[], object]
) -> None:
    """Make input and output a transport of a protocol; `ended` is called when either has ended.

    Whatever they are, pipes or sockets, threads copy: nobody may change how files behave that
    others may have open, too.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()

    def end() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(ended)

    await loop.create_connection(protocol_factory, sock=ours)
    for copy in (_receive, _send):
        threading.Thread(target=copy, args=(theirs, end), daemon=True).start()


def _receive(to: socket.socket, end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(_STDIN, _BYTES):
            to.sendall(data)
    end()


def _send(of: socket.socket, end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while data := of.recv(_BYTES):
            while data:
                data = data[os.write(_STDOUT, data) :]
    end()
