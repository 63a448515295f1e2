"""A proxy in front of the API server by which a session is cut off at one of its writes.

for write in cut_at_each_write(laptop, AFTER, "mine", "--expose=80", command="preview"):
    no_trace.check_cluster()
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import yaml

from lab import namespaces, network, users
from lab.cluster import Lab
from tests.e2e import apiserver
from tests.e2e.laptop import Laptop
from tests.e2e.tow import Session, starting

_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Asked by POST, and change nothing: SelfSubjectAccessReview and its like.
_QUESTIONS = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")
_PIECE_BYTES = 1 << 16
_CONFLICT = b"HTTP/1.1 409 "
# A Job whose pod takes long to start has its deadline moved on: that is no step.
_RENEWAL = re.compile(rb'"activeDeadlineSeconds": *[0-9]')


class When(Enum):
    """The moment of the cut: the API server never hears of the write, or has just done it and
    the session never hears of that.
    """

    BEFORE = auto()
    AFTER = auto()


BEFORE, AFTER = When.BEFORE, When.AFTER


@dataclass(frozen=True)
class Write:
    """A request that changes something in the cluster; `path` is without its query."""

    method: str
    path: str

    @property
    def kind(self) -> str:
        """The method, and the collection that the object is in."""
        parts = self.path.split("/")
        return f"{self.method} {parts[parts.index('namespaces') + 2]}"


class Cutting:
    """The proxy: `kubeconfig` leads to it; `writes` are those seen so far, `made` the one at
    which it has cut.
    """

    def __init__(self, lab: Lab, user: str, number: int, when: When) -> None:
        self.kubeconfig = Path()
        self.writes: list[Write] = []
        self.made: Write | None = None
        self.number, self.when = number, when
        self._node_net = lab.layout.node_net
        self._tls = apiserver.tls_context(lab, user)
        self._cut: concurrent.futures.Future[Callable[[], object]] = concurrent.futures.Future()

    def arm(self, cut: Callable[[], object]) -> None:
        """What to do at the cut. A write that is to be cut waits until this is known."""
        self._cut.set_result(cut)

    @contextmanager
    def listening(self, listener: socket.socket) -> Iterator[None]:
        """Serve meanwhile. What goes to the API server leaves from the node, not the laptop."""
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        def run() -> None:
            namespaces.enter(self._node_net, namespaces.Kind.NET)
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve(listener, stop))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    def note(self, write: Write) -> bool:
        """Whether this is the write to cut at."""
        self.writes.append(write)
        return len(self.writes) == self.number

    def forget(self, write: Write) -> None:
        """It met a conflict: it is made once more, and each step keeps its number."""
        self.writes.remove(write)

    async def make(self, write: Write) -> None:
        """Cut."""
        cut = await asyncio.wrap_future(self._cut)
        self.made = write
        cut()

    async def _serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        async with await asyncio.start_server(self._pass, sock=listener):
            await stop.wait()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the session, and one of ours to the API server for it."""
        try:
            where = (network.NODE_V4, network.API_PORT)
            answers, requests = await asyncio.open_connection(*where, ssl=self._tls)
            try:
                connection = _Connection(self, reader, requests, answers, writer)
                with suppress(asyncio.IncompleteReadError, OSError):
                    await connection.run()
            finally:
                requests.transport.abort()
        finally:
            writer.close()


class _Connection:
    """Passes requests one after the other, as they come: HTTP/1.1 without pipelining."""

    def __init__(
        self,
        cutting: Cutting,
        reader: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._cutting = cutting
        self._reader, self._requests = reader, requests
        self._answers, self._writer = answers, writer
        self._last: Write | None = None
        self._withheld: Write | None = None

    async def run(self) -> None:
        """Until either end closes, or the cut."""
        tasks = [
            asyncio.ensure_future(self._pass_requests()),
            asyncio.ensure_future(self._pass_answers()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_requests(self) -> None:
        while True:
            method, target, fields, request = await self._next_request()
            renewal = method == "PATCH" and _RENEWAL.search(request)
            self._last = None
            if is_write(method, target) and not renewal:
                self._last = Write(method, target.partition("?")[0])
                if self._cutting.note(self._last):
                    self._withheld = self._last
            if self._withheld and self._cutting.when is BEFORE:
                await self._cutting.make(self._withheld)
                return
            self._requests.write(request)
            if "upgrade" in fields:
                await _copy(self._reader, self._requests)
                return

    async def _next_request(self) -> tuple[str, str, dict[str, str], bytes]:
        """Method, target, header fields with names in lower case, and all of it as it came."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        assert "transfer-encoding" not in fields, "this proxy takes no request in chunks"
        body = await self._reader.readexactly(int(fields.get("content-length", "0")))
        return method, target, fields, head + body

    async def _pass_answers(self) -> None:
        while piece := await self._answers.read(_PIECE_BYTES):
            if self._last and piece.startswith(_CONFLICT):
                self._cutting.forget(self._last)
                self._last = self._withheld = None
            if self._withheld:
                await self._cutting.make(self._withheld)
                return
            self._writer.write(piece)
            await self._writer.drain()


def is_write(method: str, target: str) -> bool:
    """Whether a request changes something."""
    path, _, query = target.partition("?")
    return method in _WRITING and not path.startswith(_QUESTIONS) and "dryRun=All" not in query


@contextmanager
def cutting(
    laptop: Laptop, number: int = 0, when: When = AFTER, user: str = users.ADMIN
) -> Iterator[Cutting]:
    """A proxy on the laptop that acts for a user, and cuts at the write of that number, from
    1 on; it just counts without one.
    """
    listener = laptop.call(lambda: socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    made = Cutting(laptop.lab, user, number, when)
    config = yaml.safe_load(laptop.lab.kubeconfig(user).read_text())
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
    config["users"][0]["user"] = {}
    made.kubeconfig = laptop.input(f"cutting-{port}.yaml", yaml.safe_dump(config))
    with listener, made.listening(listener):
        yield made


def cut_at_each_write(
    laptop: Laptop,
    when: When,
    *arguments: str | Path,
    command: str,
    user: str = users.ADMIN,
) -> Iterator[Write]:
    """Sessions that are killed at their first, second, … write of starting, or of ending in
    order once they were ready. Gives that write each time; over when there is none any more.
    """
    for number in itertools.count(1):
        with cutting(laptop, number, when, user) as cut:
            through = ("-c", cut.kubeconfig)
            with starting(laptop, *arguments, *through, command=command) as session:
                cut.arm(session.process.kill)
                if session.is_ready_or_ended():
                    session.interrupt()
                code = session.end()
            if cut.made is None:
                assert code == 0, session.stderr
                return
            assert code == -signal.SIGKILL, session.stderr
        yield cut.made


def ends_of(running: Sequence[tuple[Cutting, Session]]) -> list[tuple[int, str | None]]:
    """How sessions have ended that were asked to when they were ready, and where they were cut."""
    for _, session in running:
        if session.is_ready_or_ended():
            session.interrupt()
    return [(session.end(), cut.made and cut.made.kind) for cut, session in running]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
