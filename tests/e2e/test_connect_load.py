"""Many connections leave nothing behind in a session that goes on, and ask nothing of the API."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e import objects
from tests.e2e.tow import connected
from tests.e2e.trace import sockets
from tests.e2e.waiting import until, until_at_most

ECHO, BULK = 7000, 7002
IN_SEQUENCE = 2000
AT_ONCE = 500
STALLED = 200
# What they may take: a first window each, what is given to them on trust, and their sockets.
STALLED_BYTES = {"session": 60e6, "agent": 40e6}
IDLE = 1000
IDLE_BYTES = 20e6
# A connection that was forgotten keeps its buffers and its task, some 10 KB of them.
LEAKED_BYTES = 4 << 20
CLEAN_SECONDS = 15

# What a session asks of the API server until it is up, and what else while that takes long.
STARTING = {
    "create jobs",
    "get pods/portforward",
    "list nodes",
    "list pods",
    "list servicecidrs",
    "patch jobs",
    "watch nodes",
    "watch pods",
    "watch servicecidrs",
}
STARTING_SLOWLY = {"get pods", "list events"}
TRANSPORTS = 2
WATCHES = ["watch nodes", "watch servicecidrs"]


@pytest.fixture(scope="module")
def audited(lab):
    """How many audit events there were before."""
    return len(lab.api_requests())


@pytest.fixture(scope="module", autouse=True)
def session(lab, laptop, audited, no_trace_of_module):
    with connected(laptop, "-n", "default") as running:
        exchange(laptop, address(lab), 50)  # whatever is made once, at first use, is made now
        yield running


def address(lab):
    return objects.addresses_of_service(lab, "sample")[0]


def exchange(laptop, host, number):
    """That many connections one after the other, each with a few words both ways."""

    def inside():
        for _ in range(number):
            with socket.create_connection((host, ECHO), timeout=20) as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                answer = b""
                while piece := client.recv(100):
                    answer += piece
                assert answer == b"hello5 bytes\n"

    laptop.call(inside)


def agent_pid(lab, session):
    """The agent's process."""
    uid = objects.pod_of_agent(lab, session.ready())["metadata"]["uid"]
    (pid,) = objects.processes_of_pod(uid)
    return pid


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def held(session, agent):
    """What a session's three processes hold."""
    (helper,) = session.helpers()
    laptop = session.laptop
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    return {
        "descriptors of the session": descriptors(session.pid),
        "descriptors of the helper": descriptors(helper),
        "descriptors of the agent": descriptors(agent),
        "threads": len(os.listdir(f"/proc/{session.pid}/task")),
        "tasks": status["tasks"],
        "streams": status["streams"],
        "sockets of the agent": sockets.count(Path(f"/proc/{agent}/net")),
    }


def assert_no_more_held(session, agent, before):
    """It may well be less: an API server that is not asked anything is left after a while."""
    until_at_most(lambda: held(session, agent), before, CLEAN_SECONDS)


def resident_bytes(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_thousands_in_sequence_leave_nothing(lab, laptop, session):
    agent = agent_pid(lab, session)
    before = held(session, agent)
    memory = {pid: resident_bytes(pid) for pid in (session.pid, agent)}
    exchange(laptop, address(lab), IN_SEQUENCE)
    assert_no_more_held(session, agent, before)
    for pid, bytes_before in memory.items():
        assert resident_bytes(pid) - bytes_before < LEAKED_BYTES


def test_hundreds_at_once_all_work_and_leave_nothing(lab, laptop, session):
    agent = agent_pid(lab, session)
    before = held(session, agent)
    host = address(lab)

    async def one(number, everyone_is_there):
        reader, writer = await asyncio.open_connection(host, ECHO)
        await everyone_is_there.wait()
        words = b"%d " % number * 100
        writer.write(words)
        writer.write_eof()
        assert await reader.read() == words + b"%d bytes\n" % len(words)
        writer.close()
        await writer.wait_closed()

    async def everyone():
        there = asyncio.Barrier(AT_ONCE)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(one(number, there))

    with many_descriptors():
        laptop.call(lambda: asyncio.run(everyone()))
    assert_no_more_held(session, agent, before)


def test_hundreds_of_first_connections_at_once_all_work(lab, laptop, session):
    """To destinations not seen before, so that each waits for a dial of its own."""
    agent = agent_pid(lab, session)
    before = held(session, agent)
    hosts = [host for name in ("db-0", "db-1") for host in objects.addresses_of_pod(lab, name)]

    async def one(host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n" if port == 8080 else b"u")
        writer.write_eof()
        assert await reader.read()
        writer.close()
        await writer.wait_closed()

    async def everyone():
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(one(hosts[number % 4], (8080, 7000, 7002)[number % 3]))

    with many_descriptors():
        laptop.call(lambda: asyncio.run(everyone()))
    assert_no_more_held(session, agent, before)


def give_up(laptop, host, port, number):
    """Begin connections, and go at once."""

    def inside():
        for _ in range(number):
            with socket.socket() as client:
                client.setblocking(False)
                client.connect_ex((host, port))
                with suppress(OSError):
                    client.send(b"d")

    laptop.call(inside)


def test_connections_that_are_given_up_leave_nothing(lab, laptop, session):
    agent = agent_pid(lab, session)
    before = held(session, agent)
    give_up(laptop, address(lab), 7002, 100)
    assert_no_more_held(session, agent, before)


def test_dials_that_nobody_waits_for_leave_nothing(lab, laptop, session):
    """Nothing answers there; who asked is gone, and asks no more."""
    agent = agent_pid(lab, session)
    before = held(session, agent)
    give_up(laptop, objects.addresses_of_service(lab, "blackhole")[0], 80, 100)
    assert_no_more_held(session, agent, before)


def answers(laptop, host):
    """Whether connections go through."""
    try:
        exchange(laptop, host, 1)
    except OSError:
        return False
    return True


def settled(look):
    """What it comes to when it has not grown for a second."""
    figure, since = look(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.05)
        if (now := look()) > figure:
            figure, since = now, time.monotonic()
    return figure


def test_stalled_downloads_hold_back_only_themselves_and_take_bounded_memory(lab, laptop, session):
    agent, host = agent_pid(lab, session), address(lab)
    before = held(session, agent)
    parts = {"session": session.pid, "agent": agent}
    memory = {name: resident_bytes(pid) for name, pid in parts.items()}

    def ask():
        client = socket.create_connection((host, BULK), timeout=20)
        client.sendall(b"d")
        return client

    with many_descriptors(), ExitStack() as stalled:
        for client in laptop.call(lambda: [ask() for _ in range(STALLED)]):
            stalled.enter_context(client)
        for name, pid in parts.items():
            taken = settled(lambda pid=pid: resident_bytes(pid)) - memory[name]
            print(f"{name}: {taken / 1e6:.1f} MB more")
            assert taken < STALLED_BYTES[name]
        # Not of the same pod, which has its own trouble with so many that do not read.
        for _ in range(10):
            done = laptop.run("curl", "-sS", "--max-time", "10", "http://web.default")
            assert json.loads(done.stdout)["name"] == "web"
        assert held(session, agent)["streams"] >= STALLED
    until(lambda: answers(laptop, host), 60, "the pod to have come to itself")
    assert_no_more_held(session, agent, before)


def test_idle_connections_take_little_memory(lab, laptop, session):
    agent, host = agent_pid(lab, session), address(lab)
    before = held(session, agent)
    memory = {pid: resident_bytes(pid) for pid in (session.pid, agent)}

    def ask():
        client = socket.create_connection((host, ECHO), timeout=20)
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        return client

    with many_descriptors(), ExitStack() as idle:
        for client in laptop.call(lambda: [ask() for _ in range(IDLE)]):
            idle.enter_context(client)
        for pid, bytes_before in memory.items():
            assert resident_bytes(pid) - bytes_before < IDLE_BYTES
    assert_no_more_held(session, agent, before)


def requests(lab, audited):
    """What sessions have asked of the API server since then: each request with its events."""
    found = {}
    for event in lab.api_requests()[audited:]:
        if event.get("userAgent", "").startswith("towline/"):
            found.setdefault(event["auditID"], []).append(event)
    return found


def kind(event):
    about = event["objectRef"]
    return "/".join(
        [f"{event['verb']} {about['resource']}", *filter(None, [about.get("subresource")])]
    )


def is_settled(lab, audited):
    """Whether the session has all transports that it wants, and has lifted its Job's deadline."""
    last = [events[-1] for events in requests(lab, audited).values()]
    under_way = [kind(event) for event in last if event["stage"] == "ResponseStarted"]
    is_lifted = "patch jobs" in map(kind, last)
    return is_lifted and sorted(under_way) == ["get pods/portforward"] * TRANSPORTS + WATCHES


def test_api_sees_a_handful_of_requests_per_session_and_none_per_connection(
    lab, laptop, audited, session
):
    """Counted since before the session began, through thousands of connections and lookups."""
    until(lambda: is_settled(lab, audited), 30, "the session to have settled")
    starting = requests(lab, audited)
    kinds = {kind(event) for events in starting.values() for event in events}
    assert STARTING <= kinds <= STARTING | STARTING_SLOWLY
    exchange(laptop, address(lab), IN_SEQUENCE // 2)
    names = [
        f"{name}{end}" for name in ("web", "web.other-ns", "db-0.db", "nosuch") for end in ("", ".")
    ]
    for host in names * 5:
        laptop.run("getent", "ahosts", host)
    later = [events for one, events in requests(lab, audited).items() if one not in starting]
    # The API server ends a watch after some minutes, and the session begins it again.
    assert {kind(event) for events in later for event in events} <= set(WATCHES)
