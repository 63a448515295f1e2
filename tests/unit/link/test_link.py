"""The link over loopback to real agents in this process."""

import asyncio

import pytest

from tests.unit.link.agents import Cluster, Log, linked
from towline.errors import (
    AccessError,
    AgentError,
    ConfigError,
    HopelessError,
    TowlineError,
    leading_error,
)
from towline.kube.errors import ConnectionFailed, ServerError
from towline.kube.resources import Action
from towline.kube.streams import PortForwardError
from towline.link.link import MOST_SILENT, Link
from towline.relay.peer import LinkLost
from towline.relay.request import Message, request
from towline.wire.frames import Kind, Reason


async def test_link_brings_up_what_was_asked_for_and_knows_the_agent() -> None:
    async with linked() as (cluster, link, _):
        while len(link._peers) < 2:
            await asyncio.sleep(0)
        assert cluster.attempts == 2
        assert "resolv_conf" in link.agent


async def test_streams_go_to_the_transport_with_the_fewest() -> None:
    async with linked() as (_, link, _log):
        while len(link._peers) < 2:
            await asyncio.sleep(0)
        peers = [link.peer]
        link.open(Kind.RESOLVE, b"")
        peers.append(link.peer)
        assert peers[0] is not peers[1]


async def test_lost_agent_is_told_and_the_next_one_found() -> None:
    async with linked(transports=1) as (cluster, link, log):
        await cluster.lose()
        assert await log.events.get() == "down"
        with pytest.raises(LinkLost):
            link.open(Kind.TCP, b"")
        await cluster.start()
        assert await log.events.get() == "up"
        assert not link.peer.lost


@pytest.mark.parametrize(
    "error", [AccessError("no rights"), ConfigError("no login"), AgentError("evicted")]
)
async def test_error_that_stays_before_there_was_a_link_ends_it(error: TowlineError) -> None:
    cluster = Cluster()
    cluster.failure = error
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Link(cluster.connect, Log()) as link:
            await link.first(60)
    assert leading_error(caught.value) is error


async def test_link_that_never_comes_up_ends_with_what_the_last_try_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.link.link.QUIET_SECONDS", 0)
    cluster, log = Cluster(), Log()
    cluster.failure = ServerError("error dialing backend")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with Link(cluster.connect, log) as link:
            await link.first(0.5)
    assert caught.group_contains(AgentError, match="within 0 s: error dialing backend")
    assert cluster.attempts > 1
    assert log.events.get_nowait() == "failing: error dialing backend"
    assert log.events.empty()


@pytest.mark.parametrize(
    "error", [ConfigError("no login"), AgentError("evicted"), ConnectionFailed("no way")]
)
async def test_error_after_there_was_a_link_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: TowlineError
) -> None:
    monkeypatch.setattr("towline.link.link.QUIET_SECONDS", 0)
    monkeypatch.setattr("towline.link.link.FIRST_RETRY_SECONDS", 0.001)
    async with linked(transports=1) as (cluster, link, log):
        cluster.failure = error
        await cluster.lose()
        assert await log.events.get() == "down"
        assert await log.events.get() == f"failing: {error}"
        before = cluster.attempts
        while cluster.attempts < before + 3:
            await asyncio.sleep(0.001)
        assert log.events.empty()
        await cluster.start()
        cluster.failure = None  # not before: no try is to find the old port
        assert await log.events.get() == "up"
        assert link.up


async def test_tries_that_fail_at_first_are_not_told() -> None:
    async with linked(transports=1) as (cluster, _, log):
        cluster.failure = ConnectionFailed("no way")
        before = cluster.attempts
        await cluster.lose()
        assert await log.events.get() == "down"
        while cluster.attempts == before:
            await asyncio.sleep(0.001)
        assert log.events.empty()


async def test_agent_that_does_not_listen_yet_is_told_of_only_when_that_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.link.link.QUIET_SECONDS", 0)
    monkeypatch.setattr("towline.link.link.FIRST_RETRY_SECONDS", 0.001)
    async with linked(transports=1) as (cluster, _, log):
        cluster.failure = PortForwardError("not yet", "", "connection refused", Action("get", "/"))
        before = cluster.attempts
        await cluster.lose()
        assert await log.events.get() == "down"
        while cluster.attempts < before + 3:
            await asyncio.sleep(0.001)
        assert log.events.empty()
        monkeypatch.setattr("towline.link.link.STARTING_SECONDS", 0)
        assert await log.events.get() == "failing: not yet"


class Ignoring:
    """Holds a stream, and does nothing with it."""

    def accepted(self) -> None: ...

    def data(self, data: object) -> None: ...

    def eof(self) -> None: ...

    def reset(self, reason: object) -> None: ...

    def credit(self) -> None: ...


class Quiet:
    """Has pings go unanswered: nothing reaches the link, nor does its transport end."""

    def __init__(self, link: Link) -> None:
        self._peers = list(link._peers)

    def fall(self, *, only: int | None = None) -> None:
        for peer in self._peers[:only]:
            assert peer._transport is not None
            peer._transport.pause_reading()
            peer._tell_silence(True)

    def be_heard(self) -> None:
        for peer in self._peers:
            assert peer._transport is not None
            peer._transport.resume_reading()
            peer.probe()


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_silent_transport_gets_no_new_streams_and_is_replaced_but_kept() -> None:
    async with linked() as (_, link, log):
        await until(lambda: len(link._peers) == 2)
        silent = link._peers[0]
        Quiet(link).fall(only=1)
        assert link.peer is not silent
        await until(lambda: len(link._peers) == 3)
        assert not silent.lost
        assert log.events.empty()


async def test_link_none_of_whose_transports_answers_is_down_until_one_is_replaced() -> None:
    async with linked() as (_, link, log):
        await until(lambda: len(link._peers) == 2)
        Quiet(link).fall()
        assert await log.events.get() == "down"
        assert not link.up
        assert await log.events.get() == "up"
        await until(lambda: len(link._peers) == 4)


async def test_transports_that_are_heard_again_are_used_on_and_not_replaced() -> None:
    async with linked() as (cluster, link, log):
        await until(lambda: len(link._peers) == 2)
        cluster.failure = ConnectionFailed("no way")
        before, kept = cluster.attempts, list(link._peers)
        quiet = Quiet(link)
        quiet.fall()
        assert await log.events.get() == "down"
        await until(lambda: cluster.attempts > before)
        quiet.be_heard()
        assert await log.events.get() == "up"
        cluster.failure = None
        attempts = cluster.attempts
        await asyncio.sleep(0.3)  # as long as another try would take
        assert cluster.attempts <= attempts + 1
        assert link._peers[:2] == kept


async def test_transport_that_is_heard_again_after_it_was_replaced_ends_with_its_streams() -> None:
    async with asyncio.timeout(20), linked(transports=1) as (_, link, log):
        used = link._peers[0]
        stream = link.open(Kind.CLAIM, b"")
        stream.handler = Ignoring()
        quiet = Quiet(link)
        quiet.fall()
        assert await log.events.get() == "down"
        assert await log.events.get() == "up"
        quiet.be_heard()
        await until(lambda: used.lost)
        assert stream.closed  # the agent knows no such claim
        assert len(link._peers) == 1


async def test_of_many_transports_that_fell_silent_the_last_ones_are_kept() -> None:
    async with linked(transports=1) as (_, link, log):
        for number in range(MOST_SILENT + 3):
            quiet = Quiet(link)
            quiet.fall()
            assert await log.events.get() == "down"
            assert await log.events.get() == "up"
            assert len(link._peers) <= MOST_SILENT + 1, number


async def test_change_of_the_network_has_transports_asked_and_the_next_try_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asyncio.timeout(20), linked(transports=1) as (cluster, link, log):
        monkeypatch.setattr("towline.link.link.FIRST_RETRY_SECONDS", 3600)
        cluster.failure = ConnectionFailed("no way")
        before = cluster.attempts
        await cluster.lose()
        assert await log.events.get() == "down"
        await until(lambda: cluster.attempts > before)
        cluster.failure = None
        await cluster.start()
        link._look_again()
        async with asyncio.timeout(10):
            assert await log.events.get() == "up"


async def test_transport_that_is_retired_goes_on_until_its_streams_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.link.link.SEE_OUT_SECONDS", 0.01)
    async with linked(transports=1) as (cluster, link, log), asyncio.timeout(20):
        old = link.peer
        stream = link.open(Kind.RESOLVE, b"")
        Message(stream)
        link.retire(lambda peer: peer is old)
        assert link.peer is old, "there is no other yet"
        while link.peer is old:
            await asyncio.sleep(0)
        assert cluster.attempts == 2
        assert not old.lost
        stream.reset(Reason.CANCELLED)
        while not old.lost:
            await asyncio.sleep(0)
        assert log.events.empty(), "the link was there all the time"
        assert cluster.attempts == 2


async def test_bytes_are_counted_over_all_transports_that_there_were() -> None:
    async with linked(transports=1) as (cluster, link, log):
        counts = (link.received, link.sent)
        assert min(counts) > 0
        await cluster.lose()
        assert await log.events.get() == "down"
        assert (link.received, link.sent) >= counts
        await cluster.start()
        assert await log.events.get() == "up"
        assert link.received > counts[0]
        assert link.sent > counts[1]
        assert link.round_trip is None


async def test_end_of_the_link_ends_the_agent() -> None:
    cluster, log = Cluster(), Log()
    await cluster.start()
    async with Link(cluster.connect, log, transports=1) as link:
        await link.ready()
    await asyncio.wait_for(cluster.agent.over(), 10)
    await cluster.lose()


async def test_agent_without_a_nameserver_that_answers_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.agent.resolve.resolv_conf", lambda: "")
    async with linked(transports=1) as (_, link, _log):
        with pytest.raises(Exception, match="TIMED_OUT"):
            await request(link.peer, Kind.RESOLVE, b"\0" * 12, 5)


async def test_peer_of_another_kind_is_refused_with_words() -> None:
    class Stranger(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 200 OK\r\n\r\n" * 10)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stranger, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def connect(factory):  # type: ignore[no-untyped-def]
        return await loop.create_connection(factory, "127.0.0.1", port)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with Link(connect, Log(), transports=1) as link:
            await link.ready()
    assert "not an agent" in str(caught.value.exceptions[0])
    server.close()


async def test_hopeless_error_ends_the_link_whenever_it_comes() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with linked(transports=1) as (cluster, _, _log):
            cluster.failure = HopelessError("killed again and again")
            await cluster.lose()
            await asyncio.sleep(60)
    assert leading_error(caught.value) is cluster.failure
