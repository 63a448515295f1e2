"""What a program sees of UDP and ICMP in the cluster: as if it were a pod's, on the real kernel."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.netns import cluster, cluster_of_datagrams, machine
from tests.netns.cluster_of_datagrams import (
    CLOSED,
    ECHO,
    ELSEWHERE,
    IPV4,
    IPV6,
    NO_HOST,
    PORT,
    PROHIBITED,
    SECOND,
    SILENT,
)
from towline.features.uplink.flows import Flows
from towline.link.link import Link
from towline.redirect.control import Redirect
from towline.redirect.intercept import Intercept

pytestmark = pytest.mark.usefixtures("traceless")

HOSTS = (IPV4, IPV6)
RANGES = [ipaddress.ip_network("10.96.0.0/16"), ipaddress.ip_network("fd00:10:96::/96")]
SECONDS = 20.0
LONGEST = {IPV4: 65507, IPV6: 65487}


class Observer:
    def link_up(self):
        pass

    def link_down(self, reason):
        pass

    def link_failing(self, reason):
        pass


class Session:
    def __init__(self):
        self.refused_echoes = 0
        self.flows = None

    def refuse_echoes(self):
        self.refused_echoes += 1


@asynccontextmanager
async def other_namespace(*how):
    """A cluster, and the socket of its link."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, str(Path(cluster_of_datagrams.__file__)), str(theirs.fileno()), *how]
    process = await asyncio.create_subprocess_exec(
        *argv, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE
    )
    theirs.close()
    try:
        async with asyncio.timeout(SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        yield ours
        async with asyncio.timeout(SECONDS):
            await process.wait()
    finally:
        ours.close()
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def connected(*how):
    async with other_namespace(*how) as link_socket:

        async def connect(factory):
            return await asyncio.get_running_loop().create_connection(factory, sock=link_socket)

        session = Session()
        async with (
            Redirect.open() as redirect,
            Link(connect, Observer(), transports=1) as link,
            asyncio.TaskGroup() as group,
        ):
            await link.first(SECONDS)
            flows = session.flows = Flows(
                link, redirect.tun.send, lambda _: None, session.refuse_echoes
            )
            tcp = cluster.Cluster("", redirect, group)
            async with Intercept.open(redirect, group, tcp.dial, tcp.accept, flows.take):
                await redirect.add_routes(RANGES)
                yield session
            flows.close()


def program(host, peer=None):
    """A UDP socket as a program has one that wants to hear of all errors: ip(7), IP_RECVERR."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(*((socket.IPPROTO_IPV6, 25) if ":" in host else (socket.IPPROTO_IP, 11)), 1)
    if peer:
        made.connect((host, peer))
    return made


async def heard(client, seconds=SECONDS):
    async with asyncio.timeout(seconds):
        return await asyncio.get_running_loop().sock_recvfrom(client, 65535)


async def ask(client, data=b"anyone?"):
    client.send(data)
    return (await heard(client))[0]


async def test_answers_come_and_the_longest_pass_both_ways():
    async with connected():
        for host in HOSTS:
            with program(host, ECHO) as client:
                longest = bytes(range(251)) * 300
                for size in (1, 1472, 9000, LONGEST[host]):
                    assert await ask(client, longest[:size]) == longest[:size]


async def test_many_flow_both_ways_in_order():
    async with connected():
        with program(IPV4, ECHO) as client:
            got = []
            for burst in range(20):
                for number in range(20):
                    client.send(b"%d" % (burst * 20 + number))
                got += [int((await heard(client))[0]) for _ in range(20)]
            assert got == list(range(400))


async def test_peers_of_a_socket_see_one_port_and_it_sees_who_answers():
    async with connected() as session:
        for host in HOSTS:
            with program(host) as client:
                seen = set()
                for peer in (host, SECOND[host]):
                    client.sendto(b"", (peer, PORT))
                    port, address = await heard(client)
                    assert address[:2] == (peer, PORT)
                    seen.add(port)
                assert len(seen) == 1
                client.sendto(b"x", (host, ELSEWHERE))
                data, address = await heard(client)
                assert data == b"x"
                assert address[0] == host
                assert address[1] != ELSEWHERE
        assert len(session.flows) == len(HOSTS)


async def test_connected_socket_keeps_its_port_when_a_stranger_speaks_to_it():
    async with connected():
        for host in HOSTS:
            with program(host) as client:
                client.sendto(b"", (host, PORT))
                port, _ = await heard(client)
                client.sendto(b"x", (host, ELSEWHERE))
                client.connect((host, PORT))  # and so it does not hear the answer
                assert await ask(client) == port
                client.sendto(b"y", (host, PORT))
                assert (await heard(client))[0] == port


async def test_closed_port_refuses_a_connected_socket_every_time():
    async with connected():
        for host in HOSTS:
            with program(host, CLOSED) as client:
                for _ in range(3):
                    with pytest.raises(ConnectionRefusedError):
                        await ask(client)


async def test_what_the_way_says_is_what_the_socket_says():
    async with connected():
        for host, number in (
            (NO_HOST[IPV4], errno.EHOSTUNREACH),
            (NO_HOST[IPV6], errno.EHOSTUNREACH),
            (PROHIBITED[IPV4], errno.EHOSTUNREACH),
            (PROHIBITED[IPV6], errno.EACCES),
        ):
            with program(host, ECHO) as client:
                with pytest.raises(OSError, match=rf"\[Errno {number}\]"):
                    await ask(client)


async def test_one_peer_that_refuses_does_not_end_the_others():
    async with connected():
        for host in HOSTS:
            with program(host) as client, program(host, CLOSED) as other:
                for _ in range(3):
                    client.sendto(b"x", (host, ECHO))
                    assert (await heard(client))[0] == b"x"
                    with pytest.raises(ConnectionRefusedError):
                        await ask(other)
                    client.sendto(b"nobody", (host, CLOSED))
                    with pytest.raises(ConnectionRefusedError):
                        await heard(client)


async def test_silence_is_silence():
    async with connected():
        with program(IPV4, ECHO) as four, program(IPV6, ECHO) as six:
            four.sendto(b"anyone?", (SILENT[IPV4], ECHO))
            six.sendto(b"anyone?", (SILENT[IPV6], ECHO))
            for client in (four, six):  # what comes is the answer to something later
                assert await ask(client, b"later") == b"later"


async def test_strict_firewall_lets_answers_and_errors_through():
    machine.load_rules("""
        table inet strict {
          chain incoming {
            type filter hook input priority filter; policy drop;
            iifname "lo" accept
            ct state established,related accept
          }
        }
    """)
    machine.run("sysctl -qw net.ipv4.conf.all.rp_filter=1")
    async with connected("ping"):
        for host in HOSTS:
            with program(host, ECHO) as client:
                assert await ask(client) == b"anyone?"
            with program(host, CLOSED) as client, pytest.raises(ConnectionRefusedError):
                await ask(client)
            assert "1 received" in await ping(host)
    machine.run("nft delete table inet strict; sysctl -qw net.ipv4.conf.all.rp_filter=0")


async def test_socket_that_is_closed_here_is_let_go_there():
    async with connected() as session:
        for host in HOSTS:
            with program(host, ECHO) as client:
                client.send(b"whose answer nobody waits for")
        async with asyncio.timeout(SECONDS):
            while len(session.flows) < len(HOSTS):
                await asyncio.sleep(0)
            while len(session.flows):
                await asyncio.sleep(0.01)


async def ping(host, *options):
    process = await asyncio.create_subprocess_exec(
        "ping", "-c1", "-W5", *options, host, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode()


async def test_ping_is_answered_by_who_is_there_and_by_nobody_else():
    async with connected("ping") as session:
        for host in HOSTS:
            assert "1 received" in await ping(host)
            assert "60008 bytes from" in await ping(host, "-s60000")
            assert "0 received" in await ping(SILENT[host], "-W0.5")
            unreachable = r"Destination.* (Host|Address) [uU]nreachable"
            assert re.search(unreachable, await ping(NO_HOST[host]))
        assert session.refused_echoes == 0


async def test_ping_is_not_answered_where_the_agent_may_not():
    async with connected() as session:
        for host in HOSTS:
            assert "0 received" in await ping(host, "-W0.5")
        assert session.refused_echoes == 1
