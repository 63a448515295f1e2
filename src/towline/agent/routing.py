"""Does as sessions say what is to go to which participant: the router's files, and the slots."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from towline.agent.router import File, Refused, Router
from towline.agent.slots import Slots
from towline.relay.request import Message, StreamReset
from towline.relay.stream import Stream
from towline.wire.frames import Reason
from towline.wire.target import Target

TABLE = "table.json"
# A table of some hundred participants, unpacked.
TABLE_BYTES = 8 << 20


class Routing:
    """What is in force: of several tables that come, the one of the highest revision.

    It is kept beside the router's files: both outlive this process, until the pod ends.
    """

    def __init__(self, router: Router, slots: Slots) -> None:
        self.router = router
        self._slots = slots
        self._turn = asyncio.Lock()
        self._revision = 0

    async def start(self, initial: Mapping[str, str]) -> None:
        """Go on with the table that there is, or begin with these files for the router.

        Raises OSError when that cannot be done.
        """
        kept = self.router.read(TABLE)
        if kept:
            table = json.loads(kept)
            self._revision = table["revision"]
            await self._slots.open(_slots_of(table))
            return
        for name, content in initial.items():
            self.router.write(name, content)
        self._keep({"revision": 0, "listen": []})

    async def serve(self, stream: Stream, message: Message) -> None:
        """Take the table that a stream carries, and say on it what is in force then."""
        try:
            table = _unpacked(await message.done)
            answer = await self._take(table)
        except StreamReset:
            return
        except (ValueError, KeyError, TypeError, zlib.error):
            stream.reset(Reason.UNSUPPORTED)
            return
        message.answer(json.dumps(answer).encode())

    async def _take(self, table: Mapping[str, Any]) -> Mapping[str, Any]:
        error = ""
        async with self._turn:
            if table["revision"] > self._revision:
                try:
                    await self._put(table)
                except (Refused, OSError) as failure:
                    error = str(failure)
        return {"revision": self._revision, "absent": self._slots.absent, "error": error}

    async def _put(self, table: Mapping[str, Any]) -> None:
        """Raises Refused, or OSError for a port that cannot be had; then all is as it was."""
        slots = _slots_of(table)
        await self._slots.open(slots)
        files = [File(*each) for each in table["files"]]
        await self.router.take(files, str(table["revision"]))
        self._revision = table["revision"]
        self._slots.keep(slots)
        self._keep({"revision": self._revision, "listen": table["listen"]})

    def _keep(self, table: Mapping[str, Any]) -> None:
        self.router.write(TABLE, json.dumps(table))


def parse(text: str) -> tuple[Path, Mapping[str, str]]:
    """Read `{"folder": PATH, "files": {NAME: CONTENT, …}}`. Raises ValueError."""
    values = json.loads(text)
    try:
        return Path(values["folder"]), dict(values["files"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"a router has a folder and files: {error}") from None


def pack(table: Mapping[str, Any]) -> bytes:
    """What a stream of kind ROUTE carries to the agent."""
    return zlib.compress(json.dumps(table).encode())


def _unpacked(data: bytes) -> Mapping[str, Any]:
    unpacking = zlib.decompressobj()
    table = json.loads(unpacking.decompress(data, TABLE_BYTES))
    if not isinstance(table, dict):
        raise TypeError("a table is an object")
    return table


def _slots_of(table: Mapping[str, Any]) -> dict[int, Target | None]:
    return {
        each["port"]: _target(each["original"]) if each.get("original") else None
        for each in table["listen"]
    }


def _target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    return Target(host.strip("[]"), int(port))
