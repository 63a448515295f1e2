"""The agent in a pod whose ports belong to another container: the redirect and the probes."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.netns import machine, pods
from tests.netns.pods import NODE4, NODE6, OTHER4, POD4, POD6
from towline.relay.peer import Peer
from towline.wire.frames import Kind
from towline.wire.mux import Mux
from towline.wire.target import Claim, Incoming, Port, Protocol

pytestmark = pytest.mark.usefixtures("traceless")

LINK, PORT, PROBED, TLS = 61234, 8080, 8081, 8082
DATAGRAMS = 5300
CLAIMED = [Port(PORT), Port(PROBED), Port(TLS), Port(DATAGRAMS, Protocol.UDP)]
PROBE = b"GET / HTTP/1.1\r\nHost: pod\r\nUser-Agent: kube-probe/1.35\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: pod\r\nUser-Agent: curl/8\r\n\r\n"
SECONDS = 30
OPTIONS = [
    f"--port={LINK}",
    "--redirect",
    *(f"--intercept={port}=:{port.number}" for port in CLAIMED),
    f"--probed={PROBED}=http",
    f"--probed={TLS}=other",
    "--quiet-seconds=0.1",
]


class Session:
    """A session that claims all ports and answers each connection with `session`."""

    def __init__(self, pod):
        self._pod = pod
        self.peer = None
        self._claimed = asyncio.Event()
        self._left = len(CLAIMED)

    async def connect(self):
        """Link to the agent, as soon as it listens, and claim the ports."""
        loop = asyncio.get_running_loop()
        link = await self._link()
        _, self.peer = await loop.create_connection(
            lambda: Peer(Mux(client=True), on_opened=self._opened), sock=link
        )
        await self.peer.ready()
        for port in CLAIMED:
            self.peer.open(Kind.CLAIM, Claim(port).encode(), _Claiming(self._accepted))
        await self._claimed.wait()

    async def _link(self):
        while True:
            with self._pod.inside():
                link = socket.socket()
            link.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", LINK))
                return link
            except ConnectionRefusedError:
                link.close()
            await asyncio.sleep(0.02)

    def _accepted(self):
        self._left -= 1
        if not self._left:
            self._claimed.set()

    def _opened(self, stream, kind, target):
        is_udp = Incoming.decode(target).port.protocol is Protocol.UDP
        stream.handler = (_UdpAnswer if is_udp else _Answer)(stream)
        stream.accept()


class _Claiming:
    def __init__(self, accepted):
        self.accepted = accepted

    def data(self, data):
        pass

    def credit(self):
        pass

    def eof(self):
        pass

    def reset(self, reason):
        pass


class _Answer(_Claiming):
    def __init__(self, stream):
        super().__init__(lambda: None)
        self._stream = stream

    def data(self, data):
        self._stream.consumed(len(data))
        self._stream.send(b"session")
        self._stream.send_eof()


class _UdpAnswer(_Answer):
    def data(self, data):
        self._stream.consumed(len(data))
        self._stream.send(b"\0\7session")


@pytest.fixture
def pod(_namespace):
    with pods.running() as made:
        yield made


@pytest.fixture
async def program(pod):
    """What answers in the pod by itself."""

    async def answer(reader, writer):
        await reader.read(1000)
        writer.write(b"program")
        writer.close()

    servers = []
    for port in (PORT, PROBED, TLS):
        listening = pod.listen(port)
        listening.setblocking(False)
        servers.append(await asyncio.start_server(answer, sock=listening))
    datagrams = pod.listen(DATAGRAMS, socket.SOCK_DGRAM)
    datagrams.setblocking(False)
    echo, _ = await asyncio.get_running_loop().create_datagram_endpoint(_UdpProgram, sock=datagrams)
    yield
    echo.close()
    for server in servers:
        server.close()


class _UdpProgram(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, peer):
        self._transport.sendto(b"program", peer)


@asynccontextmanager
async def agent(pod, grace_seconds=600, options=OPTIONS):
    arguments = ["-m", "towline.agent", *options, f"--grace-seconds={grace_seconds}"]
    with pod.inside():
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stderr=asyncio.subprocess.PIPE
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def session(pod):
    made = Session(pod)
    async with asyncio.timeout(SECONDS):
        await made.connect()
    yield made
    made.peer.abort()


async def ask(host, port=PORT, said=REQUEST, source=""):
    """What answers a client on the node: `session` or `program`."""
    local = (source, 0) if source else None
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port, local_addr=local)
        writer.write(said)
        answer = await reader.read()
        writer.close()
    return answer.decode()


@asynccontextmanager
async def datagrams_to(host):
    """A function that says a datagram to the pod and gives the answer, always from one socket."""
    loop = asyncio.get_running_loop()
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)

    async def say():
        async with asyncio.timeout(SECONDS):
            await loop.sock_sendall(client, b"?")
            return (await loop.sock_recv(client, 100)).decode()

    with client:
        await loop.sock_connect(client, (host, DATAGRAMS))
        yield say


async def becomes(answer, host=POD4):
    async with asyncio.timeout(SECONDS):
        while await ask(host) != answer:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("host", [POD4, POD6])
async def test_session_has_the_port_and_the_program_gets_it_back(pod, program, host):
    async with agent(pod) as process:
        async with session(pod) as it:
            assert await ask(host) == "session"
            it.peer.go_away("the session ends")
            async with asyncio.timeout(SECONDS):
                assert await process.wait() == 0
        assert await ask(host) == "program"


@pytest.mark.parametrize(("host", "source"), [(POD4, "127.0.0.6"), (POD6, "::6")])
async def test_what_a_sidecar_passes_on_is_the_sessions_then_the_programs(
    pod, program, host, source
):
    with pod.inside():
        machine.run("ip -6 address add ::6/128 dev lo nodad")
    behind = ("--behind=127.0.0.6", "--behind=::6")
    async with agent(pod, options=(*OPTIONS, *behind)):
        async with session(pod):
            with pod.inside():
                assert await ask(host, source=source) == "session"
        async with asyncio.timeout(SECONDS):
            with pod.inside():
                while await ask(host, source=source) != "program":
                    await asyncio.sleep(0.02)


@pytest.mark.parametrize("host", [POD4, POD6])
async def test_what_nobody_claims_goes_to_the_program_in_the_same_family(pod, program, host):
    async with agent(pod), session(pod) as it:
        assert await ask(host) == "session"
        it.peer.abort()
        assert await ask(host) == "program"


@pytest.mark.parametrize("host", [POD4, POD6])
async def test_datagrams_go_to_the_session_then_to_the_program(pod, program, host):
    async with datagrams_to(host) as before, datagrams_to(host) as after:
        assert await before() == "program"
        async with agent(pod) as process:
            async with session(pod) as it:
                assert await before() == "session"
                it.peer.abort()
            assert await after() == "program"
            process.kill()
            await process.wait()
        assert [await before(), await after()] == ["program", "program"]


@pytest.mark.parametrize(("host", "node"), [(POD4, NODE4), (POD6, NODE6)])
async def test_probes_by_requests_reach_the_program_and_others_of_the_node_do_not(
    pod, program, host, node
):
    async with agent(pod), session(pod):
        assert await ask(host, PROBED, PROBE, node) == "program"
        assert await ask(host, PROBED, REQUEST, node) == "session"
        assert await ask(host, PROBED, b"\x16\x03\x01", node) == "session"
        # Only on that port is anything looked at.
        assert await ask(host, PORT, PROBE, node) == "session"


async def test_probe_from_elsewhere_is_nobodys_but_the_sessions(pod, program):
    async with agent(pod), session(pod):
        assert await ask(POD4, PROBED, PROBE, OTHER4) == "session"
    async with agent(pod, options=[*OPTIONS, f"--node={OTHER4}"]), session(pod):
        assert await ask(POD4, PROBED, PROBE, OTHER4) == "program"


async def test_request_in_pieces_is_judged_when_it_is_complete(pod, program):
    async with agent(pod), session(pod):
        for said, answer in ((PROBE, b"program"), (REQUEST, b"session")):
            reader, writer = await asyncio.open_connection(POD4, PROBED)
            for piece in (said[:2], said[2:40], said[40:]):
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(SECONDS):
                assert await reader.read() == answer
            writer.close()


async def test_who_waits_for_the_server_to_speak_is_offered_after_a_moment(pod, program):
    async with agent(pod), session(pod):
        reader, writer = await asyncio.open_connection(POD4, PROBED)
        await asyncio.sleep(1.5)  # longer than a probe takes to speak
        writer.write(PROBE)
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b"session"
        writer.close()


async def test_probes_that_cannot_be_told_reach_the_program_by_their_address(pod, program):
    async with agent(pod), session(pod):
        assert await ask(POD4, TLS, source=NODE4) == "program"
        assert await ask(POD4, TLS, source=OTHER4) == "session"


async def test_pod_speaks_with_its_own_program(pod, program):
    async with agent(pod), session(pod):
        with pod.inside():
            client = socket.socket()
        client.setblocking(False)
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(client, (POD4, PORT))
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(REQUEST)
            assert await reader.read() == b"program"
        writer.close()


async def test_not_one_request_fails_at_the_switches(pod, program):
    answers = []
    over = asyncio.Event()

    async def ask_again_and_again(host):
        while not over.is_set():
            answers.append(await ask(host))

    async with asyncio.TaskGroup() as group:
        for host in (POD4, POD6) * 4:
            group.create_task(ask_again_and_again(host))
        for _ in range(3):
            async with agent(pod) as process, session(pod) as it:
                await asyncio.sleep(0.2)  # of requests
                it.peer.go_away("the session ends")
                async with asyncio.timeout(SECONDS):
                    assert await process.wait() == 0
        over.set()
    assert set(answers) == {"session", "program"}


async def test_program_has_the_port_again_when_the_session_stays_away(pod, program):
    async with agent(pod, grace_seconds=0.5) as process:
        async with session(pod):
            assert await ask(POD4) == "session"
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 0
        assert await ask(POD4) == "program"


async def test_program_has_the_port_again_when_the_agent_is_killed(pod, program):
    async with agent(pod) as process, session(pod):
        assert await ask(POD4) == "session"
        process.kill()
        await process.wait()
        await becomes("program")


async def test_agent_says_in_a_line_why_it_cannot(pod):
    with pod.inside():
        machine.run(f"nft add table inet towline-{LINK}")
    async with agent(pod) as process:
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert complaint == b"the kernel refused the redirect: File exists\n"
    with pod.inside():
        machine.run(f"nft delete table inet towline-{LINK}")


async def test_agent_is_ended_before_the_pods_own_programs_for_want_of_memory(pod):
    async with agent(pod) as process, session(pod):
        score = Path(f"/proc/{process.pid}/oom_score_adj").read_text(encoding="ascii")
        assert score.strip() == "1000"
