"""The proxies, each before the same origins, with the same rules: a header for each participant."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lab.envoy
from benchmarks.routers import peers
from lab import rootfs
from towline.routing import envoy
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.routing.table import Participant, RoutedPort, Table
from towline.wire.target import Port, Target

HEADER = "x-tow"
WORKERS = 2
_START_SECONDS = 15.0


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Proxy(ABC):
    """A proxy before an `original`; participants' requests are answered by `other`."""

    name: str

    def __init__(self, folder: Path, original: int, other: int) -> None:
        self.folder, self.original, self.other = folder, original, other
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @abstractmethod
    def files(self) -> list[Path]:
        """What an image must have for it: the program and its libraries."""

    @abstractmethod
    def command(self) -> list[str]:
        """Its command line, once its files are written."""

    @abstractmethod
    def have(self, participants: int) -> None:
        """Have the rules of so many; they need not be in force when it returns."""

    def insist(self) -> None:
        """Do what can be done when rules do not come into force."""
        assert self.process

    def port_of(self, protocol: str) -> int:
        """Where a protocol is asked for."""
        del protocol
        return self.port

    @contextmanager
    def running(self, participants: int = 0) -> Iterator[None]:
        """The proxy, once it listens."""
        self.have(participants)
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), env=peers.environment(), stdout=log, stderr=log
            )
        try:
            await_listening(self.port_of("h1"), self.folder / "log")
            yield
        finally:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def pids(self) -> list[int]:
        """Its processes."""
        assert self.process
        found = [self.process.pid]
        for pid in found:
            tasks = Path(f"/proc/{pid}/task").glob("*/children")
            found += [int(child) for task in tasks for child in task.read_text().split()]
        return found


class Envoy(Proxy):
    """As `tow mesh` has it."""

    name = "envoy"

    def __init__(self, folder: Path, original: int, other: int) -> None:
        super().__init__(folder, original, other)
        target = Target("127.0.0.1", original)
        self._routed = RoutedPort(self.port, Speaks.HTTP, ToldBy.NAME, free_port(), target)
        self._revision = 0

    def files(self) -> list[Path]:
        return [lab.envoy.program(), *rootfs.shared_libraries([lab.envoy.program()])]

    def command(self) -> list[str]:
        return [str(lab.envoy.program()), *envoy.arguments([self._routed], str(self.folder))]

    def have(self, participants: int) -> None:
        self._revision += 1
        slots = {Port(self.port): self.other}
        people = tuple(
            Participant(
                f"p{number}", "ada@laptop", "", (Match.parse(f"header:{HEADER}=p{number}"),), slots
            )
            for number in range(participants)
        )
        for file in envoy.files(Table((self._routed,), people, self._revision)):
            fresh = self.folder / ".new"
            fresh.write_text(file.content)
            fresh.rename(self.folder / file.name)


class HAProxy(Proxy):
    """With a master, which starts new workers for new rules while old ones end their streams.

    A backend speaks one protocol: there are two for each participant.
    """

    name = "haproxy"

    def files(self) -> list[Path]:
        return [Path(peers.program("haproxy")), *peers.libraries_of("haproxy")]

    def command(self) -> list[str]:
        return [peers.program("haproxy"), "-W", "-f", str(self.folder / "haproxy.cfg")]

    def have(self, participants: int) -> None:
        names = [f"p{number}" for number in range(participants)]
        rules = [
            f"use_backend {name}{suffix} if {{ req.hdr({HEADER}) -m str {name} }} {condition}"
            for name in names
            for suffix, condition in (("-h2", "h2"), ("", "!h2"))
        ]
        backends = [
            f"backend {name}{suffix}\n  server s 127.0.0.1:{port}{proto}"
            for name, port in (("original", self.original), *((name, self.other) for name in names))
            for suffix, proto in (("-h2", " proto h2"), ("", ""))
        ]
        (self.folder / "haproxy.cfg").write_text(
            "\n".join(
                [
                    f"global\n  nbthread {WORKERS}",
                    "defaults\n  mode http\n  timeout connect 5s\n  timeout client 24h",
                    "  timeout server 24h\n  option http-no-delay",
                    f"frontend f\n  bind 127.0.0.1:{self.port}\n  option forwardfor",
                    "  acl h2 req.ver 2.0",
                    *(f"  {rule}" for rule in rules),
                    "  use_backend original-h2 if h2\n  default_backend original",
                    *backends,
                    "",
                ]
            )
        )
        self.insist()

    def insist(self) -> None:
        # One that is just being served may swallow the next.
        if self.process:
            self.process.send_signal(signal.SIGUSR2)


class Nginx(Proxy):
    """What kt-connect has in that place. HTTP/2 needs a port of its own, and becomes HTTP/1.1
    unless it is gRPC.
    """

    name = "nginx"

    def __init__(self, folder: Path, original: int, other: int) -> None:
        super().__init__(folder, original, other)
        self._ports = {"h1": self.port, "h2": free_port(), "grpc": free_port()}

    def files(self) -> list[Path]:
        return [Path(peers.program("nginx")), *peers.libraries_of("nginx")]

    def command(self) -> list[str]:
        return [peers.program("nginx"), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]

    def port_of(self, protocol: str) -> int:
        return self._ports[protocol]

    def have(self, participants: int) -> None:
        ports = {"original": self.original}
        ports |= {f"p{number}": self.other for number in range(participants)}
        # Kept connections belong to an upstream, and speak one protocol.
        upstreams = [
            f"upstream {name}{kind} {{ server 127.0.0.1:{port}; keepalive 64; }}"
            for name, port in ports.items()
            for kind in ("", "-grpc")
        ]
        maps = [
            f"map $http_x_tow ${variable} {{ default original{kind}; "
            + " ".join(f"{name} {name}{kind};" for name in ports if name != "original")
            + " }"
            for variable, kind in (("who", ""), ("grpc", "-grpc"))
        ]
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/pid; worker_processes {WORKERS};\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n"
            + "\n".join([*maps, *upstreams, *self._servers(), "}", ""])
        )
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def _servers(self) -> list[str]:
        passing = (
            "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; "
            "proxy_request_buffering off; proxy_set_header Host $http_host; "
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_read_timeout 24h;"
        )
        ways = {
            f"{self._ports['h1']}": f"proxy_pass http://$who; {passing}",
            f"{self._ports['h2']} http2": f"proxy_pass http://$who; {passing}",
            f"{self._ports['grpc']} http2": "grpc_pass grpc://$grpc;",
        }
        return [
            f"server {{ listen 127.0.0.1:{port}; location / {{ {way} }} }}"
            for port, way in ways.items()
        ]


ALL: tuple[type[Proxy], ...] = (Envoy, HAProxy, Nginx)


def await_listening(port: int, log: Path) -> None:
    """Wait until somebody listens on a port of loopback; `log` is what is wrong if nobody does."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.02)
        else:
            return
