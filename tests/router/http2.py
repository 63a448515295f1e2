"""HTTP/2, with TLS or without: a server that echoes by stream, and a client of many streams."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

Headers = list[tuple[str, str]]
_READ_BYTES = 1 << 16


@dataclass
class Stream:
    """What has come on a stream so far, in order, as it comes."""

    id: int
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reset: bool = False


class _Peer:
    """One end of a connection."""

    def __init__(self, reader, writer, *, client: bool) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.streams: dict[int, Stream] = {}
        self._reader, self._writer = reader, writer
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())

    def close(self) -> None:
        self._writer.close()

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    async def run(self) -> None:
        while data := await self._reader.read(_READ_BYTES):
            for event in self.h2.receive_data(data):
                self.on_event(event)
            self.flush()

    def on_event(self, event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.data:
                stream.data.put_nowait(event.data)
        elif isinstance(event, (h2.events.ResponseReceived, h2.events.RequestReceived)):
            stream.headers.update(event.headers)
            stream.answered.set()
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers.update(event.headers)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            stream.reset = isinstance(event, h2.events.StreamReset)
            stream.ended.set()
            stream.answered.set()


class _Serving(_Peer):
    """Answers with who it is, echoes each piece of data, and ends with trailers as gRPC does."""

    def __init__(self, reader, writer, name: str) -> None:
        super().__init__(reader, writer, client=False)
        self._name = name

    def on_event(self, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = Stream(event.stream_id)
        super().on_event(event)
        if isinstance(event, h2.events.RequestReceived):
            seen = dict(event.headers)
            answer = [
                (":status", "200"),
                ("content-type", seen.get("content-type", "application/grpc")),
                ("who", self._name),
                ("asked", f"{seen[':method']} {seen[':authority']}{seen.get(':path', '')}"),
                ("saw-te", seen.get("te", "")),
                ("protocol", seen.get(":protocol", "")),
            ]
            self.h2.send_headers(event.stream_id, answer)
        elif isinstance(event, h2.events.DataReceived) and event.data:
            self.h2.send_data(event.stream_id, event.data)
        elif isinstance(event, h2.events.StreamEnded):
            trailers = [("grpc-status", "0"), ("grpc-message", self._name)]
            self.h2.send_headers(event.stream_id, trailers, end_stream=True)


class Server:
    """Listens on a loopback port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0

    @asynccontextmanager
    async def listening(self, port: int = 0, context: ssl.SSLContext | None = None):
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Serving(reader, writer, self.name).run()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Client(_Peer):
    """One connection, on which streams are opened."""

    def __init__(self, reader, writer) -> None:
        super().__init__(reader, writer, client=True)

    def open(self, *headers: tuple[str, str], **pseudo: str) -> Stream:
        """Begin a request, as gRPC would unless `pseudo` says otherwise; the body is to come."""
        first = {"method": "POST", "scheme": "http", "authority": "web", "path": "/call", **pseudo}
        stream = Stream(self.h2.get_next_available_stream_id())
        self.streams[stream.id] = stream
        usual = [(f":{name}", value) for name, value in first.items()]
        if first["method"] == "POST":
            usual += [("content-type", "application/grpc"), ("te", "trailers")]
        self.h2.send_headers(stream.id, [*usual, *headers])
        self.flush()
        return stream

    async def call(self, *headers: tuple[str, str], data: bytes = b"ping") -> Stream:
        """A request with a body, until it is answered and ended."""
        stream = self.open(*headers)
        self.send(stream.id, data, end=True)
        await stream.ended.wait()
        return stream


@asynccontextmanager
async def connected(port: int, context: ssl.SSLContext | None = None):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
    )
    client = Client(reader, writer)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        try:
            yield client
        finally:
            running.cancel()
            writer.close()
