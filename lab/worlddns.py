"""The DNS server of the world outside of the cluster: it knows a few names, and notes down
every question as a line of JSON {time, client, transport, name, type}.

    python -m lab.worlddns LOG
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TextIO, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab import network

TTL_SECONDS = 60
SLOW_SECONDS = 0.3

# The zone: name, type, data. `long.example` does not fit into a UDP answer without EDNS.
_RECORDS: dict[str, dict[str, list[str]]] = {
    "outside.example.": {"A": ["198.51.100.7"], "AAAA": ["2001:db8::7"]},
    "v4only.example.": {"A": ["198.51.100.8"]},
    "slow.example.": {"A": ["198.51.100.9"]},
    "alias.example.": {"CNAME": ["outside.example."]},
    "long.example.": {"TXT": [f'"{letter * 200}"' for letter in "abcdefgh"]},
}


class World:
    """Answers, with a log."""

    def __init__(self, log: TextIO) -> None:
        self._log = log

    async def answer(self, wire: bytes, client: str, transport: str) -> bytes | None:
        """The answer to one query, or None when it is none."""
        try:
            query = dns.message.from_wire(wire)
        except Exception:  # noqa: BLE001 - dnspython has no root of all that it may raise here
            return None
        if not query.question or query.flags & dns.flags.QR:
            return None
        self._note(query, client, transport)
        response = respond(query)
        if query.question[0].name.to_text().lower() == "slow.example.":
            await asyncio.sleep(SLOW_SECONDS)
        if transport == "tcp":
            return response.to_wire()
        return truncated(response, query.payload or 512)

    def _note(self, query: dns.message.Message, client: str, transport: str) -> None:
        question = query.question[0]
        line = {
            "time": time.time(),
            "client": client,
            "transport": transport,
            "name": question.name.to_text(omit_final_dot=True),
            "type": dns.rdatatype.to_text(question.rdtype),
        }
        print(json.dumps(line), file=self._log, flush=True)


def respond(query: dns.message.Message) -> dns.message.Message:
    """NXDOMAIN for a name that is not there, no data for a type that it does not have."""
    question = query.question[0]
    response = dns.message.make_response(query, recursion_available=True)
    name = question.name.to_text().lower()
    if name not in _RECORDS:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response
    if "CNAME" in _RECORDS[name]:
        target = _RECORDS[name]["CNAME"]
        response.answer.append(dns.rrset.from_text_list(name, TTL_SECONDS, "IN", "CNAME", target))
        name = target[0]
    kind = dns.rdatatype.to_text(question.rdtype)
    if data := _RECORDS[name].get(kind):
        response.answer.append(dns.rrset.from_text_list(name, TTL_SECONDS, "IN", kind, data))
    return response


def truncated(response: dns.message.Message, size: int) -> bytes:
    """The message, or its head with the TC flag when it exceeds `size` bytes (RFC 1035 4.2.1)."""
    wire = response.to_wire()
    if len(wire) <= size:
        return wire
    response.flags |= dns.flags.TC
    response.answer.clear()
    return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, world: World) -> None:
        self._world = world
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.ensure_future(self._answer(data, addr))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := await self._world.answer(data, addr[0], "udp")) is not None:
            self._transport.sendto(answer, addr)


async def _serve_tcp(
    world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    client = writer.get_extra_info("peername")[0]
    try:
        while True:
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = await world.answer(await reader.readexactly(length), client, "tcp")
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def serve(log: Path) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    with log.open("a") as lines:
        world = World(lines)
        for address in (network.DNS_V4, network.DNS_V6):
            await loop.create_datagram_endpoint(lambda: _Udp(world), local_addr=(address, 53))

        async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _serve_tcp(world, reader, writer)

        server = await asyncio.start_server(tcp, [network.DNS_V4, network.DNS_V6], 53)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
