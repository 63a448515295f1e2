"""An agent in a pod of the real cluster: whose its ports are, probes, and every end."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import Lab
from lab.images import PYTHON_IMAGE
from tests.e2e.applications import probes_of
from tests.e2e.kube import holding as holding_program
from tests.e2e.kube.holding import ANSWER, Held, holding
from tests.e2e.workloads import ADMIN, NAME_UDP, pod, probed, standing
from towline.cluster.ephemeral import EphemeralAgent
from towline.cluster.job import AgentSpec
from towline.errors import AccessError, SessionError, UsageError
from towline.kube.client import Client
from towline.kube.exec import exec_
from towline.kube.resources import PODS
from towline.wire.target import Port, Protocol

pytestmark = pytest.mark.timeout(180)

NAMESPACE = "default"
SECONDS = 60.0
GRACE_SECONDS = 3
WEB, LIVE, DATAGRAMS = Port(8080), Port(ADMIN), Port(NAME_UDP, Protocol.UDP)
PORTS = [WEB, LIVE, DATAGRAMS]
SPEC = AgentSpec(image=PYTHON_IMAGE, owner="jane@laptop", grace_seconds=600)
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture
def name(lab: Lab, access: Any) -> Iterator[str]:
    """A pod that runs the application, ready; the kubelet probes two of its ports each second."""
    made = f"ephemeral-{secrets.token_hex(4)}"
    with standing(lab, pod(made, containers=[probed(made)])):
        yield made


async def addresses(client: Client, name: str) -> list[str]:
    found = await client.get(PODS, name, namespace=NAMESPACE)
    return [each["ip"] for each in found["status"]["podIPs"]]


async def said(address: str, port: int = WEB.number) -> bytes:
    """What a client on the node is told; nothing when it is cut off."""
    async with asyncio.timeout(SECONDS):
        try:
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(REQUEST)
            answer = await reader.read()
            writer.close()
        except ConnectionError:
            return b""
    return answer


async def who(address: str, name: str, port: int = WEB.number) -> str:
    """Who answers there: `session` or `pod`; "" when nobody does."""
    answer = await said(address, port)
    if answer == ANSWER:
        return "session"
    return "pod" if f'"{name}"'.encode() in answer else ""


async def until_answered_by(wanted: str, address: str, name: str, seconds: float) -> float:
    """Wait for it, and give the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while await who(address, name) != wanted:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def ended(client: Client, held: Held | EphemeralAgent) -> dict[str, Any]:
    """How the agent's container has ended, as soon as it has."""
    agent = held.agent if isinstance(held, Held) else held
    return await container_ended(client, agent.pod, agent.container)


async def container_ended(client: Client, pod: str, container: str) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        while True:
            found = await client.get(PODS, pod, namespace=NAMESPACE)
            for each in found["status"].get("ephemeralContainerStatuses", ()):
                if each["name"] == container and "terminated" in each["state"]:
                    state: dict[str, Any] = each["state"]["terminated"]
                    return state
            await asyncio.sleep(0.1)


async def test_session_has_the_ports_and_the_pod_gets_them_back(client: Client, name: str) -> None:
    for address in await addresses(client, name):
        assert await who(address, name) == "pod"
    async with holding(client, NAMESPACE, name, PORTS, SPEC) as held:
        for address in await addresses(client, name):
            assert await who(address, name) == "session"
            assert await told(client, await neighbour(client), address, LIVE.number) == ANSWER
            assert await datagram(address) == ANSWER
        assert await held.agent.failure() is None
    await until_answered_by("pod", address, name, SECONDS)
    assert (await ended(client, held))["exitCode"] == 0
    for address in await addresses(client, name):
        assert await who(address, name) == "pod"
        assert name.encode() in await datagram(address)


async def datagram(address: str) -> bytes:
    """What comes back for a datagram from the node."""
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            if not arrived.done():
                arrived.set_result(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Client, remote_addr=(address, DATAGRAMS.number)
    )
    try:
        async with asyncio.timeout(SECONDS):
            transport.sendto(b"hello")
            return await arrived
    finally:
        transport.close()


async def test_pod_speaks_with_its_own_program(client: Client, name: str) -> None:
    async with holding(client, NAMESPACE, name, PORTS, SPEC) as held:
        for address in await addresses(client, name):
            assert name.encode() in await told(client, name, address, WEB.number)
        assert not held.heard
    await ended(client, held)


async def neighbour(client: Client) -> str:
    """The name of another pod that runs the application."""
    found = await client.list(PODS, namespace=NAMESPACE, labels="app=sample")
    return str(found.items[0]["metadata"]["name"])


async def told(client: Client, pod: str, address: str, port: int) -> bytes:
    """What is said to a client in a pod."""
    program = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as client:
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    sys.stdout.buffer.write(b"".join(iter(lambda: client.recv(1000), b"")))
"""
    command = ["python3", "-c", program, address, str(port)]
    async with await exec_(client, NAMESPACE, pod, "", command, stdin=False) as process:
        return await process.stdout.read()


async def test_probes_reach_the_pod_and_what_else_comes_from_the_node_does_not(
    lab: Lab, client: Client, name: str
) -> None:
    address = (await addresses(client, name))[0]
    async with holding(client, NAMESPACE, name, PORTS, SPEC) as held:
        # A mere connection cannot be told from a probe: the node's all go past.
        assert await who(address, name, LIVE.number) == "pod"
        before = await noted(lab, name)
        async with asyncio.timeout(SECONDS):
            while min(await noted(lab, name)) < max(before) + 3:
                assert await who(address, name) == "session"
                await asyncio.sleep(0.2)
        assert not [words for words in held.heard if b"kube-probe" in words]
        found = await client.get(PODS, name, namespace=NAMESPACE)
    await ended(client, held)
    assert [each["restartCount"] for each in found["status"]["containerStatuses"]] == [0]
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions["Ready"] == "True"


async def noted(lab: Lab, name: str) -> tuple[int, int]:
    """How many probes of each kind the application has noted down."""
    probes = await asyncio.to_thread(probes_of, lab, name)
    kinds = [each["probe"] for each in probes]
    return kinds.count("http"), kinds.count("tcp")


async def test_agent_whose_client_is_killed_passes_at_once_and_ends(
    lab: Lab, client: Client, name: str
) -> None:
    address = (await addresses(client, name))[0]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(holding_program.__file__)),
        str(lab.kubeconfig()),
        NAMESPACE,
        name,
        str(WEB),
        str(GRACE_SECONDS),
        PYTHON_IMAGE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        assert await who(address, name) == "session"
        (tenant,) = await EphemeralAgent(client, NAMESPACE, name, SPEC, PORTS).tenants()
    finally:
        process.kill()
        await process.communicate()
    assert await until_answered_by("pod", address, name, SECONDS) < 10
    assert (await container_ended(client, name, tenant.container))["exitCode"] == 0
    assert await who(address, name) == "pod"


async def test_second_session_is_refused_until_it_takes_over(client: Client, name: str) -> None:
    address = (await addresses(client, name))[0]
    second = EphemeralAgent(
        client, NAMESPACE, name, AgentSpec(image=PYTHON_IMAGE, owner="joe@desk"), [WEB]
    )
    async with holding(client, NAMESPACE, name, PORTS, SPEC) as held:
        with pytest.raises(SessionError, match="by jane@laptop, since"):
            await second.check(force=False)
        (tenant,) = await second.tenants()
        await second.dismiss(tenant)
        await second.start(lambda _: None, SECONDS)
        await until_answered_by("pod", address, name, SECONDS)  # nobody claims it yet
        await ended(client, held)
        failure = await held.agent.failure()
    assert isinstance(failure, SessionError)
    assert "joe@desk has taken over 8080/TCP" in failure.summary
    (tenant,) = await EphemeralAgent(client, NAMESPACE, name, SPEC, PORTS).tenants()
    await second.dismiss(tenant)
    await ended(client, second)


async def test_restricted_namespace_says_what_it_does_not_allow(lab: Lab, client: Client) -> None:
    spec = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    }
    made = pod("ephemeral", namespace="restricted", **spec)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    made["spec"]["containers"][0]["securityContext"] = security
    with standing(lab, made):
        before = await client.get(PODS, "ephemeral", namespace="restricted")
        with pytest.raises(AccessError, match="NET_ADMIN") as caught:
            await EphemeralAgent(client, "restricted", "ephemeral", SPEC, [WEB]).check(force=False)
        after = await client.get(PODS, "ephemeral", namespace="restricted")
    assert "--mode selector" in caught.value.hint
    assert after["spec"] == before["spec"]


async def test_pod_in_the_nodes_network_is_refused(lab: Lab, client: Client) -> None:
    made = pod("ephemeral-host", hostNetwork=True, offset=20000)
    with standing(lab, made):
        with pytest.raises(UsageError, match="whole node"):
            await EphemeralAgent(client, NAMESPACE, "ephemeral-host", SPEC, [WEB]).check(
                force=False
            )
