"""An agent in somebody's pod: what it takes of that, and what is said when that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.apiserver import ApiServer
from tests.fakes.kubelet import Exec, PortError, Running
from towline.cluster.guest import Guest, HostPod
from towline.errors import AgentError, UsageError
from towline.kube.client import Client
from towline.kube.errors import NotFound
from towline.kube.resources import PODS
from towline.relay.peer import LinkLost, Peer
from towline.wire.mux import Mux


def pod(*names: str, running: bool = True, **annotations: str) -> dict[str, Any]:
    state = {"running": {}} if running else {"waiting": {"reason": "CrashLoopBackOff"}}
    return {
        "metadata": {"name": "web-0", "annotations": annotations},
        "spec": {
            "initContainers": [{"name": "first"}],
            "containers": [{"name": name} for name in names],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": name, "state": state} for name in names],
        },
    }


def says(version: str, code: int = 0, complaint: bytes = b"") -> Callable[[Running], Any]:
    async def run(running: Running) -> int:
        await running.stdout.write(version.encode())
        await running.stderr.write(complaint)
        return code

    return run


@asynccontextmanager
async def guest(
    there: dict[str, Any] | None = None, container: str = "", python: str = "3 9\n"
) -> AsyncIterator[tuple[Guest, Exec]]:
    async with ApiServer() as server, Client(server.access()) as client:
        commands = Exec(server, ["v5.channel.k8s.io"])
        commands.run = says(python)
        await client.create(PODS, there or pod("app", "side"), namespace="default")
        yield Guest(client, "default", HostPod("web-0", container), lambda _: None, 10), commands


def asked(commands: Exec) -> str:
    """The container of the last command."""
    return dict(commands.queries[-1])["container"]


async def test_container_is_the_one_that_kubectl_would_take() -> None:
    async with guest() as (made, commands):
        await made.start()
        assert asked(commands) == "app"
    default = {"kubectl.kubernetes.io/default-container": "side"}
    async with guest(pod("app", "side", **default)) as (made, commands):
        await made.start()
        assert asked(commands) == "side"


async def test_container_that_was_named_is_taken() -> None:
    async with guest(container="side") as (made, commands):
        await made.start()
        assert asked(commands) == "side"


async def test_container_that_is_not_there_is_refused_with_those_that_are() -> None:
    async with guest(container="sid") as (made, _):
        with pytest.raises(UsageError, match="sid") as caught:
            await made.start()
        assert "side" in caught.value.hint


async def test_container_that_does_not_run_is_refused() -> None:
    async with guest(pod("app", running=False)) as (made, _):
        with pytest.raises(AgentError, match="does not run"):
            await made.start()


@pytest.mark.parametrize("version", ["3 8\n", "2 7\n"])
async def test_python_that_is_too_old_is_refused_with_its_version(version: str) -> None:
    async with guest(python=version) as (made, _):
        with pytest.raises(AgentError, match=version.strip().replace(" ", r"\.")) as caught:
            await made.start()
        assert "3.9" in caught.value.hint


async def test_python_that_does_not_run_is_refused_with_what_it_says() -> None:
    async with guest() as (made, commands):
        commands.run = says("", 1, b"cannot open shared object file")
        with pytest.raises(AgentError, match="shared object"):
            await made.start()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ('unable to start container process: exec: "python3": executable not found', "no Python"),
        ("the runtime is busy", "No command"),
    ],
)
async def test_command_that_cannot_be_run_is_told_with_the_reason(reason: str, told: str) -> None:
    async def fail(_: Running) -> int:
        raise PortError(reason)

    async with guest() as (made, commands):
        commands.run = fail
        with pytest.raises(AgentError, match=told) as caught:
            await made.start()
        assert caught.value.summary.endswith(reason.rpartition("process: ")[2])


async def test_pod_that_is_not_there_is_said_so() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        made = Guest(client, "default", HostPod("web-0"), lambda _: None, 10)
        with pytest.raises(NotFound, match="web-0"):
            await made.start()


async def test_transport_is_an_agent_of_its_own_that_is_given_its_program() -> None:
    async with guest() as (made, commands):
        await made.start()
        given: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def run(running: Running) -> int:
            words = [word for name, word in commands.queries[-1] if name == "command"]
            given.set_result(await running.stdin.read_exactly(int(words[3])))
            assert words[4:] == ["--stdio"]
            return 0

        commands.run = run
        transport, _ = await made.connect(lambda: Peer(Mux(client=True)))
        assert len(await given) > 1000
        transport.abort()


async def test_pod_that_is_gone_is_waited_for() -> None:
    async with ApiServer() as server, Client(server.access()) as client:
        made = Guest(client, "default", HostPod("web-0"), lambda _: None, 10)
        with pytest.raises(LinkLost):
            await made.connect(lambda: Peer(Mux(client=True)))
