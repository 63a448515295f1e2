"""Port-forward and exec through a real API server and kubelet."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from towline.kube.access import Right, missing_rights
from towline.kube.client import Client
from towline.kube.config import Access, Impersonation
from towline.kube.errors import Forbidden, Invalid, NotFound
from towline.kube.exec import ExecError, Process, exec_
from towline.kube.resources import PODS, ROLE_BINDINGS, ROLES, Object
from towline.kube.streams import PortForwardError, PortForwardTransport, port_forward
from towline.kube.watch import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.timeout(60)

# The sample application: an echo, a port that resets, and one that nothing listens on.
ECHO, RESET, CLOSED = 7000, 7003, 7999
NAMESPACE = "default"


class Receiver(asyncio.Protocol):
    """Keeps what comes, and waits for it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def data_received(self, data: Any) -> None:
        self.data += data
        self._news.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    async def until(self, size: int) -> None:
        while len(self.data) < size:
            self._news.clear()
            await self._news.wait()


@pytest.fixture
async def pod(client: Client) -> str:
    """The name of a pod that runs the sample application."""
    found = await client.list(PODS, namespace=NAMESPACE, labels="app=sample")
    running = [item for item in found.items if item["status"]["phase"] == "Running"]
    return str(running[0]["metadata"]["name"])


async def forward(client: Client, pod: str, port: int) -> tuple[PortForwardTransport, Receiver]:
    return await port_forward(client, NAMESPACE, pod, port, Receiver)


async def run(client: Client, pod: str, program: str, **options: Any) -> Process:
    """Run a Python program in the pod."""
    command = ["python3", "-c", program]
    return await exec_(client, NAMESPACE, pod, "", command, **{"stdin": False, **options})


async def test_bytes_come_back_as_they_were_sent(client: Client, pod: str) -> None:
    data = os.urandom(1 << 20) * 30
    transport, receiver = await forward(client, pod, ECHO)

    for start in range(0, len(data), 300_000):
        transport.write(data[start : start + 300_000])
        await receiver.writable.wait()
    await receiver.until(len(data))
    transport.close()

    assert await receiver.lost is None
    assert receiver.data == data


async def test_port_that_nothing_listens_on_is_refused(client: Client, pod: str) -> None:
    _, receiver = await forward(client, pod, CLOSED)
    error = await receiver.lost

    assert isinstance(error, PortForwardError)
    assert error.refused
    assert str(CLOSED) in error.summary


async def test_reset_by_the_program_ends_the_forward(client: Client, pod: str) -> None:
    _, receiver = await forward(client, pod, RESET)

    await receiver.lost
    assert receiver.data == b""


async def test_unknown_pod_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="There is no nobody among the pods"):
        await forward(client, "nobody", ECHO)


async def test_a_hundred_at_once_leave_nothing_behind(client: Client, pod: str) -> None:
    before = set(os.listdir("/proc/self/fd"))

    async def one(number: int) -> None:
        transport, receiver = await forward(client, pod, ECHO)
        message = f"number {number}".encode()
        transport.write(message)
        await receiver.until(len(message))
        assert receiver.data == message
        transport.close()
        assert await receiver.lost is None

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))

    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


async def test_forward_ends_with_its_pod(client: Client, pod: str) -> None:
    copied = await client.get(PODS, pod, namespace=NAMESPACE)
    name = f"streams-{secrets.token_hex(4)}"
    spec = {**copied["spec"], "nodeName": None, "volumes": None}
    kept = ("name", "image", "command", "args")
    spec["containers"] = [
        {key: container[key] for key in kept if key in container}
        for container in spec["containers"]
    ]
    body = {"metadata": {"name": name}, "spec": spec}
    await client.create(PODS, body, namespace=NAMESPACE)
    try:
        await until(client, PODS, name, is_ready, namespace=NAMESPACE)
        transport, receiver = await _echoing(client, name)
    finally:
        await client.delete(PODS, name, namespace=NAMESPACE, grace_seconds=0)

    await receiver.lost
    assert transport.is_closing()


async def _echoing(client: Client, pod: str) -> tuple[PortForwardTransport, Receiver]:
    """A forward that answers; the program may still be starting."""
    while True:
        transport, receiver = await forward(client, pod, ECHO)
        transport.write(b"x")
        answer = asyncio.ensure_future(receiver.until(1))
        await asyncio.wait([answer, receiver.lost], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return transport, receiver
        answer.cancel()


def is_ready(pod: Object | None) -> bool:
    status = (pod or {}).get("status", {})
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


@asynccontextmanager
async def user_with(client: Client, access: Access, verbs: list[str]) -> AsyncIterator[Client]:
    """A client of someone who has these verbs on pods/portforward and nothing else.

    They hold already: whoever authorizes hears of a new Role a bit later.
    """
    name = f"streams-{secrets.token_hex(4)}"
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": verbs}]
    await client.create(ROLES, {"metadata": {"name": name}, "rules": rules}, namespace=NAMESPACE)
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }
    try:
        await client.create(ROLE_BINDINGS, binding, namespace=NAMESPACE)
        user = replace(access.user, impersonation=Impersonation(name))
        rights = [Right(verb, "", "pods", "portforward", NAMESPACE) for verb in verbs]
        async with Client(replace(access, user=user)) as limited:
            while await missing_rights(limited, rights):
                await asyncio.sleep(0.05)
            yield limited
    finally:
        await client.delete(ROLES, name, namespace=NAMESPACE)
        await client.delete(ROLE_BINDINGS, name, namespace=NAMESPACE)


@pytest.mark.parametrize(("verbs", "missing"), [(["get"], "create"), (["create"], "get")])
async def test_either_right_alone_is_not_enough(
    client: Client, access: Access, pod: str, verbs: list[str], missing: str
) -> None:
    async with user_with(client, access, verbs) as limited:
        with pytest.raises(Forbidden) as caught:
            await forward(limited, pod, ECHO)

    assert f"may not {missing} pods/portforward in the namespace default" in caught.value.summary
    assert "to get and to create pods/portforward" in caught.value.hint


async def test_get_and_create_are_enough(client: Client, access: Access, pod: str) -> None:
    async with user_with(client, access, ["get", "create"]) as limited:
        transport, receiver = await _echoing(limited, pod)
        transport.close()

        assert await receiver.lost is None


async def test_input_comes_back_until_it_is_closed(client: Client, pod: str) -> None:
    data = os.urandom(1 << 20) * 5
    program = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    async with await run(client, pod, program, stdin=True) as process:
        process.write(data)
        process.close_stdin()

        assert await process.stdout.read() == data
        assert await process.stderr.read() == b""
        assert await process.wait() == 0


async def test_output_errors_and_exit_code_are_told_apart(client: Client, pod: str) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    async with await run(client, pod, program) as process:
        assert await process.stdout.read() == b"out\n"
        assert await process.stderr.read() == b"err\n"
        assert await process.wait() == 7


async def test_much_output_is_complete(client: Client, pod: str) -> None:
    program = "import sys; sys.stdout.write('0123456789' * 2_000_000)"
    async with await run(client, pod, program) as process:
        await asyncio.sleep(0.3)  # in which it fills all buffers

        assert await process.stdout.read() == b"0123456789" * 2_000_000
        assert await process.wait() == 0


async def test_terminal_has_the_size_it_is_given(client: Client, pod: str) -> None:
    program = """
import os, signal, sys, time
signal.signal(signal.SIGWINCH, lambda *_: None)
size = os.get_terminal_size()
while size.columns != 101:
    time.sleep(0.01)
    size = os.get_terminal_size()
print(size.columns, size.lines, os.isatty(0))
"""
    async with await run(client, pod, program, stdin=True, tty=True) as process:
        process.resize(columns=101, rows=33)

        assert await process.stdout.read() == b"101 33 True\r\n"
        assert await process.wait() == 0


async def test_command_that_does_not_exist_is_an_error(client: Client, pod: str) -> None:
    async with await exec_(client, NAMESPACE, pod, "", ["no-such-thing"], stdin=False) as process:
        with pytest.raises(ExecError, match="executable file not found"):
            await process.wait()


async def test_container_that_does_not_exist_is_refused(client: Client, pod: str) -> None:
    with pytest.raises(Invalid, match="container nobody is not valid"):
        await exec_(client, NAMESPACE, pod, "nobody", ["true"], stdin=False)


async def test_leaving_early_returns_at_once(client: Client, pod: str) -> None:
    async with asyncio.timeout(3):
        async with await run(client, pod, "import time; time.sleep(1000)"):
            pass
