"""TCP connections through a session are as those of a pod: how they begin, flow, and end."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import socket
import struct
import threading
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from lab import namespaces, settings
from tests.e2e import objects
from tests.e2e.tow import connected

FAMILIES = pytest.mark.parametrize("family", [4, 6])

ECHO, BULK, RESET, CLOSED = 7000, 7002, 7003, 7999

# A program waits 3 s for an answer to its SYN when that may be sent again just once (tcp(7)).
ONE_SYN_RETRY, TWO_SYN_RETRIES = 1, 2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
SECONDS = 15

# What connect() says in a pod, so that it can be compared with: the number of the error.
IN_A_POD = f"""
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, {ONE_SYN_RETRY})
print(client.connect_ex((sys.argv[1], int(sys.argv[2]))))
"""


@pytest.fixture(scope="module", autouse=True)
def session(laptop, no_trace_of_module):
    with connected(laptop, "-n", "default") as running:
        yield running


def attempt(laptop, host, port, retries=ONE_SYN_RETRY):
    """What connect() says: 0, or the number of the error."""

    def inside():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, retries)
            return client.connect_ex((host, port))

    return laptop.call(inside)


def attempt_in_a_pod(lab, host, port):
    argv = ("exec", "deploy/sample", "--", "python3", "-c", IN_A_POD, host, str(port))
    return int(lab.kubectl(*argv))


def address(lab, service, family):
    return objects.addresses_of_service(lab, service)[family == 6]


def listen(lab, family, port=0):
    """A listening socket on the node, at its own address within the pods' range."""
    ranges = lab.kubectl_json("node", settings.NODE_NAME)["spec"]["podCIDRs"]
    host = str(ip_network(objects.by_family(ranges)[family == 6])[1])
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET

    def inside():
        server = socket.create_server((host, port), family=kind)
        server.settimeout(SECONDS)
        return server

    return namespaces.call_inside(lab.layout.node_net, inside)


class Pair:
    """A connection from the laptop to the node: its two ends."""

    def __init__(self, laptop, server):
        self.client = laptop.connect_to(*server.getsockname()[:2], seconds=SECONDS)
        self.server, _ = server.accept()
        self.server.settimeout(SECONDS)

    def __enter__(self):
        return self.client, self.server

    def __exit__(self, *_):
        self.client.close()
        self.server.close()


@pytest.fixture(params=[4, 6])
def server(lab, request):
    """A listening socket in the cluster. Its first connection is dialled before it is
    accepted here, the later ones meanwhile.
    """
    with listen(lab, request.param) as listening:
        yield listening


def read_all(connection):
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("service", "port", "family", "expected"),
    [
        ("sample", CLOSED, 4, {errno.ECONNREFUSED}),
        ("sample", CLOSED, 6, {errno.ECONNREFUSED}),
        ("empty", 80, 4, {errno.ECONNREFUSED}),
        ("empty", 80, 6, {errno.ECONNREFUSED}),
        ("unreachable", 80, 4, {errno.EHOSTUNREACH, errno.ENETUNREACH}),
        ("unreachable", 80, 6, {errno.EHOSTUNREACH, errno.ENETUNREACH}),
        ("blackhole", 80, 4, {errno.ETIMEDOUT}),
        ("blackhole", 80, 6, {errno.ETIMEDOUT}),
    ],
)
def test_connect_says_what_it_says_in_a_pod_each_time(lab, laptop, family, service, port, expected):
    host = address(lab, service, family)
    truth = attempt_in_a_pod(lab, host, port)
    assert truth in expected
    times = 2 if truth == errno.ETIMEDOUT else 4
    assert [attempt(laptop, host, port) for _ in range(times)] == [truth] * times


@pytest.mark.parametrize("host", [settings.NOBODY_V4, settings.NOBODY_V6])
def test_pods_address_that_nobody_has_is_unreachable(laptop, host):
    """The node learns so after 3 s of asking who has it."""
    answers = [attempt(laptop, host, 80, TWO_SYN_RETRIES) for _ in range(2)]
    assert answers == [errno.EHOSTUNREACH] * 2


def test_program_is_told_in_its_own_words(laptop):
    refused = laptop.run("curl", "-sS", "http://empty")
    assert refused.returncode == 7, "curl: could not connect"
    silent = laptop.run("curl", "-sS", "--connect-timeout", "2", "http://blackhole")
    assert silent.returncode == 28, "curl: timed out"


def test_port_that_closes_later_is_refused_from_the_second_connection_on(laptop, server):
    """Known to accept, it is not asked again for a connection at once; that one is reset."""
    host, port = server.getsockname()[:2]
    with Pair(laptop, server):
        pass
    server.close()
    # That may come before Python, which connects with a timeout, has looked how it went.
    with pytest.raises(ConnectionResetError), laptop.connect_to(host, port) as late:
        late.recv(1)
    assert [attempt(laptop, host, port) for _ in range(2)] == [errno.ECONNREFUSED] * 2


def test_port_that_opens_later_is_reached(lab, laptop, server):
    host, port = server.getsockname()[:2]
    family = 6 if ":" in host else 4
    server.close()
    assert attempt(laptop, host, port) == errno.ECONNREFUSED
    with listen(lab, family, port) as opened, Pair(laptop, opened) as (client, accepted):
        accepted.sendall(b"here")
        assert client.recv(4) == b"here"


def test_black_holes_hold_up_nobody(lab, laptop, session):
    silent, web = address(lab, "blackhole", 4), address(lab, "web", 4)

    def begin():
        client = socket.socket()
        client.setblocking(False)
        assert client.connect_ex((silent, 80)) == errno.EINPROGRESS
        return client

    waiting = [laptop.call(begin) for _ in range(50)]
    began = time.monotonic()
    with laptop.connect_to(web, 80) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 2
    for each in waiting:
        each.close()


def test_clients_end_of_input_passes_and_the_answer_comes_back(lab, laptop):
    for family in (4, 6, 4, 6):
        with laptop.connect_to(address(lab, "sample", family), ECHO) as client:
            client.sendall(b"some words")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"some words10 bytes\n"


def test_servers_end_of_input_passes_and_the_client_goes_on(laptop, server):
    for _ in range(2):
        with Pair(laptop, server) as (client, accepted):
            accepted.sendall(b"that is all")
            accepted.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"that is all"
            client.sendall(b"not for me")
            client.shutdown(socket.SHUT_WR)
            assert read_all(accepted) == b"not for me"


def test_servers_reset_is_a_reset(laptop, server):
    for _ in range(2):
        with Pair(laptop, server) as (client, accepted):
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            accepted.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_clients_reset_is_a_reset(laptop, server):
    for _ in range(2):
        with Pair(laptop, server) as (client, accepted):
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            client.close()
            with pytest.raises(ConnectionResetError):
                accepted.recv(1)


@FAMILIES
def test_server_that_resets_what_it_accepts(lab, laptop, family):
    """The reset may be there when connect() has just succeeded, or a moment later."""
    for _ in range(3):
        with (
            pytest.raises(ConnectionResetError),
            laptop.connect_to(address(lab, "sample", family), RESET) as client,
        ):
            client.recv(1)


def test_silent_connection_stays_open_both_ways(laptop, server):
    """Who speaks first is the programs' affair, not ours."""
    with Pair(laptop, server) as (client, accepted):
        accepted.sendall(b"server first")
        assert client.recv(100) == b"server first"
    with Pair(laptop, server) as (client, accepted):
        client.sendall(b"client first")
        assert accepted.recv(100) == b"client first"


def test_bulk_arrives_whole_both_ways_at_once(lab, laptop):
    size = 24 << 20
    data = random.Random(3).randbytes(1 << 20) * (size >> 20)
    with laptop.connect_to(address(lab, "sample", 4), BULK, seconds=60) as client:
        sender = threading.Thread(target=client.sendall, args=(b"e" + data,))
        sender.start()
        digest, received = hashlib.sha256(), 0
        while received < size:
            piece = client.recv(1 << 18)
            assert piece
            digest.update(piece)
            received += len(piece)
        sender.join()
    assert digest.digest() == hashlib.sha256(data).digest()


def test_reader_that_stalls_holds_up_neither_others_nor_memory(lab, laptop, session):
    host = address(lab, "sample", 4)
    with laptop.connect_to(host, BULK) as stalled:
        stalled.sendall(b"d")
        assert stalled.recv(1) == b"\0"
        before = resident_bytes(session.pid)
        for _ in range(20):
            with laptop.connect_to(host, ECHO) as client:
                client.sendall(b"x" * 1000)
                client.shutdown(socket.SHUT_WR)
                assert read_all(client).endswith(b"1000 bytes\n")
        assert resident_bytes(session.pid) - before < 64 << 20


def resident_bytes(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_connections_side_by_side_keep_apart(lab, laptop):
    hosts = [address(lab, "sample", family) for family in (4, 6)]

    async def one(number):
        reader, writer = await asyncio.open_connection(hosts[number % 2], ECHO)
        words = f"{number} ".encode() * 500
        writer.write(words)
        writer.write_eof()
        assert await reader.read() == words + f"{len(words)} bytes\n".encode()
        writer.close()
        await writer.wait_closed()

    async def everyone():
        await asyncio.gather(*(one(number) for number in range(100)))

    laptop.call(lambda: asyncio.run(everyone()))


def test_status_tells_of_flows_and_bytes(lab, laptop, session):
    with laptop.connect_to(address(lab, "sample", 4), ECHO) as client:
        client.sendall(b"x" * 100_000)
        read = 0
        while read < 100_000:
            read += len(client.recv(100_000))
        (line,) = [
            line.strip()
            for line in laptop.run(laptop.tow, "status").stdout.splitlines()
            if "flow" in line
        ]
    flows, received, sent, *_, way = line.split(", ")
    assert int(flows.split()[0]) >= 1
    assert received.startswith("received ")
    assert received.endswith(("kB", "MB", "GB"))
    assert sent.startswith("sent ")
    assert way == "through the API"
