"""The router in this pod's other container: its routes are files, its admin socket one, too.

It is an Envoy, which takes a file when another is moved there, and tells of it by its statistics:
https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api#filesystem-subscriptions
"""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

ADMIN = "admin.sock"
CALL_SECONDS = 5.0
LOOK_SECONDS = 0.01
# A router that has just been started may take its time.
TAKE_SECONDS = 15.0
DRAIN_LOOK_SECONDS = 0.2

# What comes to it: not the connections to HTTP ports, as the kubelet makes one a second.
_COMING = r"^http\..*\.downstream_rq_total$|^tcp\..*\.downstream_cx_total$"
_OPEN = r"^(http|tcp)\..*\.downstream_(rq|cx)_active$"
# Statistics of its admin interface begin so.
_OUR_OWN = "http.admin."


class File(NamedTuple):
    """A file of the router's, and the statistics that tell what it has taken of it."""

    name: str
    content: str
    stat: str


class Refused(Exception):  # noqa: N818
    """The router did not take a file; the text says which, and why as far as it is known."""


class Router:
    """The router whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        """A file of that folder; "" when there is none."""
        try:
            return (self._folder / name).read_text("utf-8")
        except OSError:
            return ""

    def write(self, name: str, content: str) -> None:
        """Write a file in one go: nobody ever sees a part of it."""
        fresh = self._folder / f".{name}"
        fresh.write_text(content, "utf-8")
        fresh.replace(self._folder / name)

    async def take(self, files: list[File], version: str) -> None:
        """Have it take files of this version, each before the next is written.

        Raises Refused, and all are as they were, when it does not.
        """
        before = [(each.name, self.read(each.name)) for each in files]
        try:
            for each in files:
                await self._take(each, version)
        except Refused:
            for name, content in reversed(before):
                self.write(name, content)
            raise

    async def _take(self, file: File, version: str) -> None:
        which = rf"^{re.escape(file.stat)}\.(version_text|update_rejected)$"
        before = (await self._stats(which)).get(f"{file.stat}.update_rejected", "0")
        self.write(file.name, file.content)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TAKE_SECONDS
        while True:
            now = await self._stats(which)
            if now.get(f"{file.stat}.version_text") == f'"{version}"':
                return
            if now.get(f"{file.stat}.update_rejected", before) != before:
                raise Refused(f"the router refuses {file.name}")
            if loop.time() > deadline:
                raise Refused(f"the router does not take {file.name}, {TAKE_SECONDS:g} s long")
            await asyncio.sleep(LOOK_SECONDS)

    async def drain(self, quiet_seconds: float) -> None:
        """Have it tell its clients to come no more; return when none has for a while, nor is there.

        One that does not answer has none.
        """
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")
        loop = asyncio.get_running_loop()
        before, since = await self._stats(_COMING), loop.time()
        while True:
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
            now, open_ = await self._stats(_COMING), await self._stats(_OPEN)
            if now != before:
                before, since = now, loop.time()
            if loop.time() - since >= quiet_seconds and not any(map(int, open_.values())):
                return

    async def quit(self) -> None:
        """End it, in order."""
        await self._ask("POST", "/quitquitquit")

    async def _stats(self, pattern: str) -> Mapping[str, str]:
        """Statistics by their names; none when it does not answer, as before it is started."""
        lines = (await self._ask("GET", f"/stats?filter={quote(pattern)}")).splitlines()
        return dict(
            line.split(": ", 1) for line in lines if ": " in line and not line.startswith(_OUR_OWN)
        )

    async def _ask(self, method: str, path: str) -> str:
        """What its admin interface says; "" when it does not answer."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(None, _call, self._folder / ADMIN, method, path)
        except (OSError, http.client.HTTPException):
            return ""


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _call(admin: Path, method: str, path: str) -> str:
    connection = _Connection(admin)
    try:
        connection.request(method, path)
        return connection.getresponse().read().decode("utf-8", "replace")
    finally:
        connection.close()
