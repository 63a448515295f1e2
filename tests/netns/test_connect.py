"""What a program sees when it connects to the cluster: connect() tells the truth."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.netns import cluster, machine
from tests.netns.cluster import (
    ACCEPTING,
    HOSTS,
    IPV4,
    IPV6,
    NO_HOST,
    NO_LINK,
    NO_NET,
    REFUSING,
    SILENT,
)
from tests.unit.redirect.strategies import tcp
from towline.redirect import packets

pytestmark = pytest.mark.usefixtures("traceless")


@pytest.mark.parametrize("host", HOSTS)
async def test_first_connection_waits_for_its_dial_and_gets_its_stream(host):
    async with cluster.connected() as it:
        assert await cluster.ask(host, ACCEPTING) == f"cluster dialled {host} {ACCEPTING}"
        assert it.dials == [(host, ACCEPTING)]
        assert it.intercept.pending == 0


async def test_range_that_is_reserved_by_the_standards_is_one_like_any_other():
    async with cluster.connected(ranges=[ip_network("240.10.0.0/20")]):
        for how in ("dialled", "known"):
            answer = await cluster.ask("240.10.0.1", ACCEPTING)
            assert answer == f"cluster {how} 240.10.0.1 {ACCEPTING}"
        assert await cluster.refusal("240.10.0.1", NO_HOST) == errno.EHOSTUNREACH


@pytest.mark.parametrize("host", HOSTS)
async def test_later_connections_do_not_wait_for_a_dial(host):
    async with cluster.connected() as it:
        await cluster.ask(host, ACCEPTING)
        for _ in range(5):
            assert await cluster.ask(host, ACCEPTING) == f"cluster known {host} {ACCEPTING}"
        assert len(it.dials) == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("port", "number"),
    [
        (REFUSING, errno.ECONNREFUSED),
        (NO_HOST, errno.EHOSTUNREACH),
        (NO_NET, errno.ENETUNREACH),
    ],
)
async def test_failed_dial_is_what_connect_says_every_time(host, port, number):
    async with cluster.connected() as it:
        for _ in range(3):
            assert await cluster.refusal(host, port) == number
        assert len(it.dials) == 3
        assert it.intercept.pending == 0


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("port", [SILENT, NO_LINK])
async def test_dial_without_an_answer_is_silence(host, port):
    async with cluster.connected() as it:
        with pytest.raises(TimeoutError):
            await cluster.connect(host, port, seconds=0.3)
        assert it.dials == [(host, port)]


async def test_next_syn_finds_the_link_again():
    async with cluster.connected() as it:
        connecting = asyncio.ensure_future(cluster.ask(IPV4, NO_LINK))
        while not it.dials:
            await asyncio.sleep(0.001)
        del it.failing[NO_LINK]
        assert await connecting == f"cluster dialled {IPV4} {NO_LINK}"
        assert len(it.dials) == 2


@pytest.mark.parametrize("host", HOSTS)
async def test_slow_dial_is_not_repeated_for_repeated_syns(host):
    async with cluster.connected() as it:
        it.delay = lambda address, port: asyncio.sleep(3.5)  # SYNs come again after 1 and 3 seconds
        assert await cluster.ask(host, ACCEPTING) == f"cluster dialled {host} {ACCEPTING}"
        assert len(it.dials) == 1


async def test_connection_opened_by_anothers_dial_still_takes_its_own():
    """A slow dial's SYN comes again when the destination is open, and is redirected at once."""
    async with cluster.connected() as it:
        delays = [2.0, 0.0]
        it.delay = lambda address, port: asyncio.sleep(delays.pop(0))
        slow = asyncio.ensure_future(cluster.connect(IPV4, ACCEPTING))
        while not it.dials:
            await asyncio.sleep(0.001)
        assert await cluster.ask(IPV4, ACCEPTING) == f"cluster dialled {IPV4} {ACCEPTING}"
        client = await slow  # after its second SYN, before its dial has ended
        assert len(it.accepted) == 1
        with client:
            assert await cluster.first_line(client) == f"cluster dialled {IPV4} {ACCEPTING}"
        assert len(it.dials) == 2
        assert it.intercept.pending == 0


@pytest.mark.parametrize("host", HOSTS)
async def test_500_at_once_to_one_destination(host):
    async with cluster.connected() as it:
        it.delay = lambda address, port: asyncio.sleep(0.02)
        lines = await asyncio.gather(*(cluster.ask(host, ACCEPTING) for _ in range(500)))
        assert set(lines) <= {f"cluster {how} {host} {ACCEPTING}" for how in ("dialled", "known")}
        assert len(it.accepted) == 500
        assert sum(dialled for _, _, dialled in it.accepted) == len(it.dials)
        assert it.intercept.pending == 0


async def test_500_at_once_to_500_destinations():
    async with cluster.connected() as it:
        it.delay = lambda address, port: asyncio.sleep(0.02)
        hosts = [f"10.96.{index // 250}.{index % 250 + 1}" for index in range(500)]
        lines = await asyncio.gather(*(cluster.ask(host, ACCEPTING) for host in hosts))
        assert lines == [f"cluster dialled {host} {ACCEPTING}" for host in hosts]
        assert it.intercept.pending == 0


async def test_500_refused_at_once():
    async with cluster.connected() as it:
        it.delay = lambda address, port: asyncio.sleep(0.02)
        outcomes = await asyncio.gather(
            *(cluster.connect(IPV4, REFUSING) for _ in range(500)), return_exceptions=True
        )
        assert all(isinstance(each, ConnectionRefusedError) for each in outcomes)
        assert it.intercept.pending == 0


async def test_2000_in_sequence_leave_no_descriptor():
    async with cluster.connected():
        await cluster.ask(IPV4, ACCEPTING)
        before = descriptors()
        for _ in range(2000):
            await cluster.ask(IPV4, ACCEPTING)
        while descriptors() > before:
            await asyncio.sleep(0.01)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_forgotten_destination_waits_for_a_dial_again():
    async with cluster.connected() as it:
        await cluster.ask(IPV4, ACCEPTING)
        await it.redirect.forget(ip_address(IPV4), ACCEPTING)
        await it.redirect.forget(ip_address(IPV4), ACCEPTING)  # as it may well be
        assert await cluster.ask(IPV4, ACCEPTING) == f"cluster dialled {IPV4} {ACCEPTING}"


async def test_forgotten_destination_that_refuses_now_is_refused():
    async with cluster.connected() as it:
        await cluster.ask(IPV4, ACCEPTING)
        it.failing[ACCEPTING] = cluster.Reason.REFUSED
        await it.redirect.forget(ip_address(IPV4), ACCEPTING)
        with pytest.raises(ConnectionRefusedError):
            await cluster.connect(IPV4, ACCEPTING)


async def test_one_source_port_to_two_destinations_keeps_them_apart():
    """To the listener the two would look the same: conntrack changes one's source port."""
    async with cluster.connected():
        with (
            await cluster.connect(IPV4, ACCEPTING, source_port=45000) as one,
            await cluster.connect("10.96.0.11", ACCEPTING, source_port=45000) as other,
        ):
            assert await cluster.first_line(one) == f"cluster dialled {IPV4} {ACCEPTING}"
            assert await cluster.first_line(other) == f"cluster dialled 10.96.0.11 {ACCEPTING}"


@pytest.mark.parametrize("host", HOSTS)
async def test_bytes_pass_whole_and_ends_by_halves(host):
    sent = os.urandom(3_000_000)
    async with cluster.connected():
        with await cluster.connect(host, ACCEPTING) as client:
            reader, writer = await asyncio.open_connection(sock=client)
            await reader.readline()

            async def send():
                writer.write(sent)
                await writer.drain()
                writer.write_eof()

            _, received = await asyncio.gather(send(), reader.read(-1))
            assert received == sent
            writer.close()


async def test_removed_range_has_no_route():
    async with cluster.connected() as it:
        await cluster.ask(IPV4, ACCEPTING)
        await it.redirect.remove_routes(cluster.RANGES)
        await it.redirect.remove_routes(cluster.RANGES)
        for host in HOSTS:
            assert await cluster.refusal(host, ACCEPTING) == errno.ENETUNREACH


async def test_range_added_twice_is_there_once():
    async with cluster.connected() as it:
        await it.redirect.add_routes(cluster.RANGES)
        assert machine.run("ip route show 10.96.0.0/16").count("\n") == 1


async def test_many_ranges_at_once():
    ranges = [ip_network(f"10.{i // 250}.{i % 250}.0/24") for i in range(600)]
    async with cluster.connected(ranges=ranges):
        assert machine.run("ip route").count("dev tow0") == 600
        assert await cluster.ask("10.2.7.9", ACCEPTING) == f"cluster dialled 10.2.7.9 {ACCEPTING}"


@pytest.mark.parametrize("host", HOSTS)
async def test_strict_firewall_lets_every_answer_through(host):
    machine.load_rules("""
        table inet strict {
          chain incoming {
            type filter hook input priority filter; policy drop;
            iifname "lo" accept
            ct state established,related accept
            ct state invalid drop
          }
        }
    """)
    machine.run("sysctl -qw net.ipv4.conf.all.rp_filter=1")
    async with cluster.connected():
        assert await cluster.ask(host, ACCEPTING) == f"cluster dialled {host} {ACCEPTING}"
        for port, number in (
            (REFUSING, errno.ECONNREFUSED),
            (NO_HOST, errno.EHOSTUNREACH),
            (NO_NET, errno.ENETUNREACH),
        ):
            assert await cluster.refusal(host, port) == number
        assert await datagram_refusal(host) in {errno.EHOSTUNREACH, errno.EACCES}
    machine.run("nft delete table inet strict; sysctl -qw net.ipv4.conf.all.rp_filter=0")


@pytest.mark.parametrize(("host", "number"), [(IPV4, errno.EHOSTUNREACH), (IPV6, errno.EACCES)])
async def test_what_nobody_takes_is_answered_at_once(host, number):
    async with cluster.connected():
        assert await datagram_refusal(host) == number


async def datagram_refusal(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((host, 9))
        client.send(b"anyone?")
        try:
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_recv(client, 100)
        except OSError as error:
            return error.errno
    return 0


async def test_segment_of_an_unknown_connection_is_reset():
    """As of a connection that was made by another way, before the range was led here."""
    async with cluster.connected() as it:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw,
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as incoming,
        ):
            incoming.setblocking(False)
            raw.connect((IPV4, 0))
            raw.send(tcp(40000, ACCEPTING, 7, 5555, packets.ACK, b"data"))
            async with asyncio.timeout(5):
                while True:
                    data = await asyncio.get_running_loop().sock_recv(incoming, 1000)
                    segment = packets.parse_tcp(packets.parse(data))
                    if segment.flags & packets.RST:
                        break
            assert (segment.source_port, segment.destination_port) == (ACCEPTING, 40000)
            assert segment.sequence == 5555
        assert it.dials == []


async def test_container_is_told_that_it_may_not():
    """Packets that are not this machine's own are not redirected, and not left waiting."""
    other = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        machine.run(f"""
            until [ "$(readlink /proc/{other.pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]
            do sleep 0.01; done
            ip link add inside type veth peer name outside
            ip link set inside netns {other.pid}
            ip address add 172.30.0.1/24 dev outside
            ip link set outside up
            sysctl -qw net.ipv4.ip_forward=1
            nsenter -t {other.pid} -n sh -ec '
              ip address add 172.30.0.2/24 dev inside
              ip link set inside up
              ip route add default via 172.30.0.1'
        """)
        async with cluster.connected() as it:
            said = await asyncio.to_thread(
                machine.run,
                f"nsenter -t {other.pid} -n {sys.executable} -c 'import socket\n"
                f'print(socket.socket().connect_ex(("{IPV4}", {ACCEPTING})))\'',
            )
            assert int(said) == errno.EHOSTUNREACH
            assert it.dials == []
    finally:
        other.kill()
        other.wait()
        machine.run("until ! ip link show outside 2>/dev/null; do sleep 0.01; done >/dev/null")
        machine.run("sysctl -qw net.ipv4.ip_forward=0")
