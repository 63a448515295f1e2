"""A session that has a pod's ports by an ephemeral agent; as a program, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from towline.cluster.ephemeral import EphemeralAgent
from towline.cluster.job import AgentSpec
from towline.features.local.delivery import Delivery
from towline.kube.client import Client
from towline.kube.config import load_access
from towline.link.link import Link
from towline.wire.target import Port, Protocol, Target

SECONDS = 60.0
ANSWER = b"the session"


class _Quiet:
    """Nobody is told of the link."""

    def link_up(self) -> None:
        pass

    def link_down(self, reason: str) -> None:
        pass

    def link_failing(self, reason: str) -> None:
        pass


class Held:
    """The agent, its link, and what has been said to the programs of this session."""

    def __init__(self, agent: EphemeralAgent) -> None:
        self.agent = agent
        self.heard: list[bytes] = []


class _Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(ANSWER, addr)


@asynccontextmanager
async def holding(
    client: Client, namespace: str, pod: str, ports: Sequence[Port], spec: AgentSpec
) -> AsyncIterator[Held]:
    """What comes to the pod's ports is answered with :data:`ANSWER` meanwhile."""
    held = Held(EphemeralAgent(client, namespace, pod, spec, ports))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.heard.append(await reader.read(1000))
        writer.write(ANSWER)
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    datagrams, _ = await loop.create_datagram_endpoint(_Datagrams, local_addr=("127.0.0.1", 0))
    local = {
        Protocol.TCP: Target("127.0.0.1", server.sockets[0].getsockname()[1]),
        Protocol.UDP: Target("127.0.0.1", datagrams.get_extra_info("sockname")[1]),
    }
    try:
        await held.agent.start(lambda _: None, SECONDS)
        async with asyncio.TaskGroup() as group:
            delivery = Delivery({port: local[port.protocol] for port in ports}, group)
            async with Link(
                held.agent.connect,
                _Quiet(),
                on_transport=delivery.claim,
                on_opened=delivery.opened,
            ) as link:
                await link.first(SECONDS)
                await delivery.claimed()
                yield held
    finally:
        server.close()
        datagrams.close()


async def main(kubeconfig: str, namespace: str, pod: str, port: str, grace_seconds: str) -> None:
    access = load_access(kubeconfig_file=Path(kubeconfig), environ={})
    spec = AgentSpec(image=sys.argv[6], grace_seconds=int(grace_seconds))
    async with Client(access) as client:
        async with holding(client, namespace, pod, [Port.parse(port)], spec):
            print("ready", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
