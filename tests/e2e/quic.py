"""A QUIC server that sends back what comes on each stream, and a client of it, as programs.

quic.py server HOST CERTIFICATE KEY                 says `PORT`, and serves until it is ended
quic.py client HOST PORT AUTHORITY STREAMS BYTES    says `whole` when all of it came back
"""

from __future__ import annotations

import asyncio
import os
import sys

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration

ALPN = ["echo"]


async def server(host: str, certificate: str, key: str) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(certificate, key)
    tasks: set[asyncio.Task[None]] = set()

    def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_echo(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    made = await serve(host, 0, configuration=configuration, stream_handler=opened)
    print(made._transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.write_eof()


async def client(host: str, port: str, authority: str, streams: str, size: str) -> None:
    configuration = QuicConfiguration(alpn_protocols=ALPN)
    configuration.load_verify_locations(authority)
    async with connect(host, int(port), configuration=configuration) as connection:

        async def ask() -> bool:
            said = os.urandom(int(size))
            reader, writer = await connection.create_stream()
            writer.write(said)
            writer.write_eof()
            return await reader.read(-1) == said

        answers = await asyncio.gather(*(ask() for _ in range(int(streams))))
    print("whole" if all(answers) else "torn", flush=True)


if __name__ == "__main__":
    asyncio.run({"server": server, "client": client}[sys.argv[1]](*sys.argv[2:]))
