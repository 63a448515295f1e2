"""Which hosts are the cluster's, asked of a cluster's name server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from tests.unit.dns.fakedns import POD_RESOLV_CONF, FakeCluster
from towline.dns.policy import ClusterNames
from towline.features.uplink.proxy import whose as module
from towline.features.uplink.proxy.whose import Unknown, Whose
from towline.wire.dns import Name

RANGES = [ip_network("10.96.0.0/16"), ip_network("fd00:96::/112")]
KEPT_OUT = [ip_network("10.96.0.99"), ip_network("198.51.100.0/24")]


class Link:
    peer = None

    async def ready(self, seconds: float) -> None:
        """It is always there."""


@asynccontextmanager
async def whose(
    monkeypatch: pytest.MonkeyPatch, *, everything: bool = False
) -> AsyncIterator[tuple[Whose, FakeCluster]]:
    zone = FakeCluster()

    async def request(peer: Any, kind: Any, message: bytes, seconds: float) -> bytes:
        answer: bytes = await zone.answer(message)
        return answer

    monkeypatch.setattr(module, "request", request)
    names = ClusterNames.of_pod(POD_RESOLV_CONF, "default", outside=[Name.of("api.corp.example")])
    async with asyncio.TaskGroup() as group:
        yield (
            Whose(Link(), group, names, lambda: RANGES, KEPT_OUT, everything=everything),  # type: ignore[arg-type]
            zone,
        )


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("web", "web.default.svc.cluster.local."),
        ("WEB", "web.default.svc.cluster.local."),
        ("api.other", "api.other.svc.cluster.local."),
        ("pod-0.db", "pod-0.db.default.svc.cluster.local."),
        ("web.default.svc.cluster.local", "web.default.svc.cluster.local."),
        ("10.96.0.1", "10.96.0.1"),
        ("fd00:96::1", "fd00:96::1"),
    ],
)
async def test_what_a_pod_would_find_is_the_clusters_by_its_full_name(
    monkeypatch: pytest.MonkeyPatch, host: str, inside: str
) -> None:
    async with whose(monkeypatch) as (found, _):
        assert (await found.in_cluster(host) or "").lower() == inside


@pytest.mark.parametrize(
    "host",
    ["www.example.com", "example.com", "localhost", "api.corp.example", "192.0.2.1", "10.96.0.99"],
)
async def test_all_else_is_reached_from_here(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async with whose(monkeypatch) as (found, _):
        assert await found.in_cluster(host) is None


async def test_name_of_the_cluster_that_does_not_exist_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with whose(monkeypatch) as (found, _):
        assert await found.in_cluster("nothing.default.svc") == "nothing.default.svc"


async def test_everything_but_this_machine_can_be_the_clusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with whose(monkeypatch, everything=True) as (found, _):
        assert await found.in_cluster("www.example.com") == "www.example.com"
        assert await found.in_cluster("192.0.2.1") == "192.0.2.1"
        assert await found.in_cluster("web") == "web.default.svc.cluster.local."
        for own in ("localhost", "x.localhost", "127.0.0.1", "::1"):
            assert await found.in_cluster(own) is None
        for excluded in ("api.corp.example", "10.96.0.99", "198.51.100.7"):
            assert await found.in_cluster(excluded) is None


async def test_name_is_unknown_while_the_cluster_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with whose(monkeypatch) as (found, zone):
        zone.error = OSError("the link is lost")
        with pytest.raises(Unknown):
            await found.in_cluster("web.default.svc")
