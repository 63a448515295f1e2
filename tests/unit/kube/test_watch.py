from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.apiserver import ApiServer
from tests.fakes.objectstore import Collection, Key
from towline.kube.call import Patience
from towline.kube.client import Client
from towline.kube.errors import ConnectionFailed, Forbidden
from towline.kube.resources import PODS
from towline.kube.watch import EventType, WatchEvent, lines, until, watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.01)
ADDED, MODIFIED, DELETED, SYNCED = EventType


class World:
    """Pods that come, change and go, as a controller would have it."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._store = server.store

    async def add(self, name: str, **labels: str) -> dict[str, Any]:
        value = {"metadata": {"name": name, "labels": labels}}
        return await self._server.add("api/v1", "pods", value, namespace="default")

    async def change(self, name: str, phase: str) -> None:
        old = self._store.objects[self._key(name)]
        await self._store.update(self._key(name), {**old, "status": {"phase": phase}})

    async def remove(self, name: str) -> None:
        await self._store.delete(self._key(name), {})

    def _key(self, name: str) -> Key:
        return Key(Collection("api/v1", "pods"), "default", name)


async def take(events: AsyncGenerator[WatchEvent, None], count: int) -> list[tuple[EventType, str]]:
    """The next events, as type and name."""
    taken = []
    async with asyncio.timeout(5):
        for _ in range(count):
            event = await anext(events)
            taken.append((event.type, event.object["metadata"]["name"] if event.object else ""))
    return taken


async def settled(server: ApiServer) -> None:
    """Wait until a watch is open."""
    async with asyncio.timeout(5):
        while not server.watchers:
            await asyncio.sleep(0)


async def test_what_there_is_comes_first_then_synced_then_changes() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            assert await take(events, 2) == [(ADDED, "a"), (SYNCED, "")]

            await world.add("b")
            await world.change("a", "Running")
            await world.remove("a")

            assert await take(events, 3) == [(ADDED, "b"), (MODIFIED, "a"), (DELETED, "a")]
        assert client.request_count == 2


async def test_since_leaves_out_the_listing() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        made = await world.add("a")
        await world.change("a", "Running")
        since = made["metadata"]["resourceVersion"]
        async with aclosing(watch(client, PODS, namespace="default", since=since)) as events:
            assert await take(events, 1) == [(MODIFIED, "a")]

        assert client.request_count == 1


async def test_selectors_are_part_of_the_listing_and_of_the_watch() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a", app="web")
        await world.add("b", app="other")
        async with aclosing(watch(client, PODS, labels="app=web")) as events:
            assert await take(events, 2) == [(ADDED, "a"), (SYNCED, "")]

            await world.add("c", app="other")
            await world.add("d", app="web")

            assert await take(events, 1) == [(ADDED, "d")]


async def test_a_dropped_connection_is_resumed_without_losing_or_repeating() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 2)
            for name in "bcd":
                pending = asyncio.ensure_future(anext(events))
                await settled(server)
                server.drop_watches()
                await world.add(name)
                async with asyncio.timeout(5):
                    event = await pending
                assert (event.type, event.object["metadata"]["name"]) == (ADDED, name)
        lists = [seen for seen in server.requests if "watch" not in seen.query]
        assert len(lists) == 1


async def test_a_bookmark_is_where_the_watch_goes_on() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 2)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            await server.add("api/v1", "secrets", {"metadata": {"name": "s"}}, namespace="default")
            # Without the bookmark the version that the watch knows would be forgotten now.
            await server.store.bookmark()
            bookmarked = server.store.version
            await world.add("b")
            async with asyncio.timeout(5):
                await pending
            server.drop_watches()
            await world.add("c")

            assert await take(events, 1) == [(ADDED, "c")]
        resumed = int(server.requests[-1].query["resourceVersion"])
        assert resumed >= bookmarked


async def test_a_forgotten_version_gives_the_differences_as_events() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        for name in ("stays", "changes", "goes"):
            await world.add(name)
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 4)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            server.faults.append(_unavailable_until(lambda: server.store.oldest > 1000))
            server.drop_watches()
            await world.change("changes", "Running")
            await world.remove("goes")
            await world.add("comes")
            await server.store.forget()

            async with asyncio.timeout(5):
                first = await pending
            received = [(first.type, first.object["metadata"]["name"]), *await take(events, 3)]

        assert set(received[:3]) == {(MODIFIED, "changes"), (DELETED, "goes"), (ADDED, "comes")}
        assert received[3] == (SYNCED, "")


def _unavailable_until(ready: Any) -> Any:
    async def fault(_: web.Request) -> web.StreamResponse | None:
        return None if ready() else web.Response(status=503)

    return fault


async def test_a_replaced_object_of_the_same_name_is_deleted_and_added() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 2)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            server.faults.append(_unavailable_until(lambda: server.store.oldest > 1000))
            server.drop_watches()
            await world.remove("a")
            await world.add("a")
            await server.store.forget()

            async with asyncio.timeout(5):
                first = await pending
            assert first.type is DELETED
            assert await take(events, 2) == [(ADDED, "a"), (SYNCED, "")]


async def test_what_there_is_comes_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 2)
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        for name in "abc":
            await world.add(name)
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            assert await take(events, 2) == [(ADDED, "a"), (ADDED, "b")]
            assert client.request_count == 1

            assert await take(events, 2) == [(ADDED, "c"), (SYNCED, "")]


async def test_pages_that_expire_are_listed_at_once_and_nothing_is_given_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("towline.kube.client._PAGE_ITEMS", 2)
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        for name in "abc":
            await world.add(name)

        async def change_between_pages(request: web.Request) -> None:
            if "continue" in request.query:
                await world.remove("b")
                await server.store.forget()

        server.faults.append(change_between_pages)
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            given = await take(events, 5)

        assert given == [(ADDED, "a"), (ADDED, "b"), (DELETED, "b"), (ADDED, "c"), (SYNCED, "")]
        assert "limit" not in server.requests[-1].query


async def test_a_brief_watch_tells_of_what_is_gone_only_which_it_was() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        made = await world.add("goes")
        async with aclosing(watch(client, PODS, namespace="default", brief=True)) as events:
            await take(events, 2)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            server.faults.append(_unavailable_until(lambda: server.store.oldest > 1000))
            server.drop_watches()
            await world.remove("goes")
            await server.store.forget()

            async with asyncio.timeout(5):
                event = await pending

        kept = {key: made["metadata"][key] for key in ("uid", "resourceVersion")}
        assert event == WatchEvent(DELETED, {"metadata": kept})


async def test_a_server_that_is_away_for_a_while_is_waited_for() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 1)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            server.fail(503, times=5)
            server.hang_up(times=3)
            server.drop_watches()
            await world.add("a")

            async with asyncio.timeout(5):
                assert (await pending).object["metadata"]["name"] == "a"


async def test_a_server_that_is_away_from_the_start_is_an_error() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        server.hang_up(times=10)
        async with aclosing(watch(client, PODS)) as events:
            with pytest.raises(ConnectionFailed):
                await anext(events)


async def test_losing_the_right_to_watch_ends_it_with_forbidden() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 1)
            pending = asyncio.ensure_future(anext(events))
            await settled(server)
            server.allows = lambda asked: False
            server.drop_watches()

            with pytest.raises(Forbidden) as caught:
                async with asyncio.timeout(5):
                    await pending

        assert caught.value.summary.endswith("may not watch pods in the namespace default")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"type": "ADDED", "object": {}}', b"null", b'{"type": 1}']
)
async def test_a_broken_event_is_resumed_like_a_broken_connection(line: bytes) -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        broken = 0

        async def break_first(request: web.Request) -> web.StreamResponse | None:
            nonlocal broken
            if "watch" not in request.query or broken:
                return None
            broken += 1
            return web.Response(body=line + b"\n")

        server.faults.append(break_first)
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 1)
            await world.add("a")
            assert await take(events, 1) == [(ADDED, "a")]
        assert broken == 1


async def test_closing_a_watch_closes_its_connection() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        async with aclosing(watch(client, PODS)) as events:
            await take(events, 1)
            waiting = asyncio.ensure_future(anext(events))
            await settled(server)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        async with asyncio.timeout(5):
            while server.watchers:
                await asyncio.sleep(0)


async def test_until_gives_the_object_as_soon_as_it_fits() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            found = group.create_task(until(client, PODS, "a", _is_running, namespace="default"))
            await settled(server)
            await world.change("a", "Pending")
            await world.change("a", "Running")

        result = found.result()
        assert result is not None
        assert result["status"]["phase"] == "Running"


async def test_until_needs_one_request_when_all_is_well_already() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")
        await world.change("a", "Running")

        assert await until(client, PODS, "a", _is_running, namespace="default")
        assert client.request_count == 1


async def test_until_asks_about_absence() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        world = World(server)
        await world.add("a")

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            gone = group.create_task(
                until(client, PODS, "a", lambda pod: pod is None, namespace="default")
            )
            await settled(server)
            await world.remove("a")

        assert gone.result() is None
        assert await until(client, PODS, "b", lambda pod: pod is None, namespace="default") is None


async def test_until_ends_with_what_the_predicate_raises() -> None:
    def refuse(_: Any) -> bool:
        raise LookupError("the image cannot be pulled")

    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        with pytest.raises(LookupError):
            await until(client, PODS, "a", refuse, namespace="default")


def _is_running(pod: dict[str, Any] | None) -> bool:
    return pod is not None and pod.get("status", {}).get("phase") == "Running"


@given(
    texts=st.lists(st.binary().map(lambda b: b.replace(b"\n", b""))),
    cuts=st.lists(st.integers(0, 200)),
    ended=st.booleans(),
)
async def test_lines_come_out_whole_however_they_are_cut(
    texts: list[bytes], cuts: list[int], ended: bool
) -> None:
    whole = b"\n".join(texts) + (b"\n" if ended else b"")
    edges = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})

    async def pieces() -> AsyncIterator[bytes]:
        for start, end in itertools.pairwise(edges):
            yield whole[start:end]

    assert [line async for line in lines(pieces())] == [text for text in texts if text]


async def test_a_line_of_megabytes_is_one_event() -> None:
    async with ApiServer() as server, Client(server.access(), QUICK) as client:
        async with aclosing(watch(client, PODS, namespace="default")) as events:
            await take(events, 1)
            text = "x" * 3_000_000
            value = {"metadata": {"name": "big", "annotations": {"text": text}}}
            await server.add("api/v1", "pods", value, namespace="default")
            async with asyncio.timeout(5):
                event = await anext(events)

        assert len(json.dumps(event.object)) > len(text)
