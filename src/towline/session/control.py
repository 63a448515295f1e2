"""How sessions of this machine are found and spoken to.

Each running session listens on an abstract Unix socket (unix(7)), which is no file: it is
gone with its process, whatever ends that. One JSON object a line asks, one answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from towline.features.state import Answer

REPLY_SECONDS = 5.0
LINE_LIMIT_BYTES = 1 << 20

# What an answer has at least; one of another version of towline may lack more.
STATUS_FIELDS = {
    "command": str,
    "pid": int,
    "state": str,
    "context": str,
    "namespace": str,
    "server": str,
    "since": str,
}


_NAME = re.compile(r"@(towline/(\d+)/(\d+))$")


@asynccontextmanager
async def listen(
    status: Callable[[], dict[str, Any]],
    stop: Callable[[], None],
    answers: Mapping[str, Answer] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Answer requests of this user and root while the context lasts.

    They are `stop`, those of `answers`, and for all else the status is given.
    """
    connections: set[asyncio.StreamWriter] = set()

    async def answer(request: object) -> dict[str, Any]:
        if request == {"command": "stop"}:
            stop()
        if isinstance(request, dict) and request.get("command") in answers:
            return await answers[request["command"]](request)
        return status()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            if _peer_uid(writer.get_extra_info("socket")) not in (os.getuid(), 0):
                return
            while line := await reader.readline():
                writer.write(json.dumps(await answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except (ValueError, OSError):
            pass
        finally:
            connections.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(
        serve, path=f"\0towline/{os.getuid()}/{os.getpid()}", limit=LINE_LIMIT_BYTES
    )
    try:
        yield
    finally:
        server.close()
        # Whoever asked for the end sees it as the end of its connection, when this process
        # is gone; so these stay open.


def find() -> list[int]:
    """The process ids of the sessions that this user may speak to, oldest first.

    Sessions of other network namespaces are not seen, as they serve another "machine".
    """
    found = set()
    for name, pid in _names():
        if connection := _connect_to(name):
            connection.close()
            found.add(pid)
    return sorted(found)


def status(pid: int) -> dict[str, Any] | None:
    """How the session `pid` is doing; None when it is gone or gives no such answer in time."""
    connection = _connect(pid, REPLY_SECONDS)
    if connection is None:
        return None
    with connection:
        answer = _exchange(connection, "status")
    if isinstance(answer, dict) and all(
        isinstance(answer.get(field), kind) for field, kind in STATUS_FIELDS.items()
    ):
        return answer
    return None


def ask(pid: int, command: str, seconds: float, **values: Any) -> dict[str, Any] | None:
    """What the session `pid` answers to a command of its `answers` within `seconds`; else None."""
    connection = _connect(pid, seconds)
    if connection is None:
        return None
    with connection:
        answer = _exchange(connection, command, **values)
    return answer if isinstance(answer, dict) else None


def stop(pid: int, seconds: float) -> bool:
    """Ask the session `pid` to end and wait for it; false when it has not within `seconds`."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if connection := _connect(pid, seconds):
            with connection:
                _exchange(connection, "stop")
        ended, _, _ = select.select([process], [], [], seconds)
    finally:
        os.close(process)
    return bool(ended)


def _connect(pid: int, seconds: float) -> socket.socket | None:
    """A connection to the session `pid`, on which nothing takes longer than `seconds`."""
    for name, number in _names():
        if number == pid and (connection := _connect_to(name)):
            connection.settimeout(seconds)
            return connection
    return None


def _names() -> Iterator[tuple[str, int]]:
    """The names of sockets that could be sessions this user may speak to; their process ids."""
    for line in Path("/proc/net/unix").read_text().splitlines():
        match = _NAME.search(line)
        if match and os.getuid() in (0, int(match[2])):
            yield match[1], int(match[3])


def _connect_to(name: str) -> socket.socket | None:
    """A connection to the session of that name, if it is one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Whoever does not take connections is not waited for.
    connection.setblocking(False)
    with suppress(OSError):
        connection.connect(f"\0{name}")
        # Anyone may bind any name: only the word of the user whose it is counts, or root's.
        if _peer_uid(connection) in (0, int(name.split("/")[1])):
            return connection
    connection.close()
    return None


def _exchange(connection: socket.socket, command: str, **values: Any) -> Any:
    """The answer to a command, whatever it may be; None for none."""
    try:
        connection.sendall(json.dumps({"command": command, **values}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            answer = lines.readline(LINE_LIMIT_BYTES)
        return json.loads(answer) if answer else None
    except (OSError, ValueError):
        return None


def _peer_uid(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
