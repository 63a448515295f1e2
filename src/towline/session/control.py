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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

REPLY_SECONDS = 5.0
LINE_LIMIT_BYTES = 1 << 20

_NAME = re.compile(r"@(towline/(\d+)/(\d+))$")


@asynccontextmanager
async def listen(
    status: Callable[[], dict[str, Any]], stop: Callable[[], None]
) -> AsyncIterator[None]:
    """Answer `status` and `stop` requests of this user and root while the context lasts."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            if _peer_uid(writer.get_extra_info("socket")) not in (os.getuid(), 0):
                return
            while line := await reader.readline():
                request = json.loads(line).get("command")
                if request == "stop":
                    stop()
                writer.write(json.dumps(status()).encode() + b"\n")
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
    uid = os.getuid()
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines():
        match = _NAME.search(line)
        if match and uid in (0, int(match[2])):
            found.add((int(match[3]), match[1]))
    return [pid for pid, _ in sorted(found)]


def ask(pid: int, command: str, *, seconds: float = REPLY_SECONDS) -> dict[str, Any] | None:
    """One question to the session `pid`; None when it is gone or does not answer in time."""
    with _connect(pid, seconds) as connection:
        return _exchange(connection, command)


def stop(pid: int, seconds: float) -> bool:
    """Ask the session `pid` to end and wait for it; false when it has not within `seconds`."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        with _connect(pid, seconds) as connection:
            _exchange(connection, "stop")
        ended, _, _ = select.select([process], [], [], seconds)
    finally:
        os.close(process)
    return bool(ended)


def _connect(pid: int, seconds: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    for line in Path("/proc/net/unix").read_text().splitlines():
        match = _NAME.search(line)
        if match and int(match[3]) == pid:
            try:
                connection.connect(f"\0{match[1]}")
            except OSError:
                continue
            # Anyone may bind any abstract name: only one's own or root's word counts.
            if _peer_uid(connection) in (os.getuid(), 0):
                break
    return connection


def _exchange(connection: socket.socket, command: str) -> dict[str, Any] | None:
    try:
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            answer = lines.readline(LINE_LIMIT_BYTES)
        return json.loads(answer) if answer else None
    except (OSError, ValueError):
        return None


def _peer_uid(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
