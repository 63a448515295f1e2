"""By which way transports to an agent go, as rights allow now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet import Channel, Exec, PortForward, Running
from towline.cluster.transports import Transports
from towline.kube.client import Client
from towline.kube.errors import Forbidden

PORT = 7070


async def until_it_ends(running: Running) -> int:
    await running.stdin.read()
    return 0


async def serve(channel: Channel) -> None:
    await channel.read()


class Cluster:
    """Where some subresources of pods are refused."""

    def __init__(self, server: ApiServer) -> None:
        self.refused: set[str] = set()
        self.forwards = PortForward(server)
        self.forwards.listen(PORT, serve)
        self.commands = Exec(server, ["v5.channel.k8s.io"])
        self.commands.run = until_it_ends
        server.allows = lambda what: what["subresource"] not in self.refused

    @property
    def opened(self) -> tuple[int, int]:
        """How many connections have gone by port-forward, and how many by exec."""
        return self.forwards.served, len(self.commands.queries)


async def connect(transports: Transports) -> None:
    transport, _ = await transports.connect("web-0", asyncio.Protocol)
    transport.abort()


async def test_refusal_that_passes_is_for_that_one_transport() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        cluster, transports = Cluster(server), Transports(client, "dev", "agent", PORT)
        cluster.refused = {"portforward"}
        await connect(transports)
        assert cluster.opened == (0, 1)
        cluster.refused = {"exec"}
        await connect(transports)
        assert cluster.opened == (1, 1)


async def test_who_may_do_neither_hears_of_the_port_forward() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        cluster, transports = Cluster(server), Transports(client, "dev", "agent", PORT)
        cluster.refused = {"portforward", "exec"}
        with pytest.raises(Forbidden, match="portforward"):
            await connect(transports)


async def test_commands_run_in_the_agents_container() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        cluster, transports = Cluster(server), Transports(client, "dev", "agent", PORT)
        cluster.refused = {"portforward"}
        await connect(transports)
        query: dict[str, Any] = dict(cluster.commands.queries[0])
        assert query["container"] == "agent"
