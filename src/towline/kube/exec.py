"""Run a command in a container, with live streams.

async with await exec_(client, "dev", "web-0", "main", ["cat"], stdin=True) as process:
    process.write(b"hello")
    process.close_stdin()
    assert await process.stdout.read() == b"hello"
    assert await process.wait() == 0
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Self

from towline.kube.channels import Buffer, Channels
from towline.kube.errors import ApiError, Forbidden
from towline.kube.resources import PODS, Action, action
from towline.kube.status import Status, status_of
from towline.kube.streams import explained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from towline.kube.client import Client
    from towline.kube.upgrade import Upgraded

#: The first can close the command's stdin. API servers before 1.30 know only the second.
SUBPROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

# The channels: what each message is for.
STDIN, STDOUT, STDERR, STATUS, RESIZE = range(5)

# What each of stdout and stderr may hold unread before the command is held back.
_UNREAD_BYTES = 256 * 1024

# What waits to be sent before `drain` waits.
_UNSENT_BYTES = 256 * 1024


class ExecError(ApiError):
    """A command could not be run, or was cut off, because of `reason`."""

    def __init__(self, summary: str, hint: str, reason: str, what: Action) -> None:
        super().__init__(summary, hint, action=what)
        self.reason = reason


async def exec_(
    client: Client,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    *,
    stdin: bool,
    tty: bool = False,
) -> Process:
    """Start a command in a container ("" is the pod's default one).

    With `tty` it gets a terminal, and its stderr comes as stdout. Whether there is such a
    command shows in :meth:`Process.wait`. The user needs the right `get` on pods/exec in the
    namespace, because a WebSocket begins with a GET, and from Kubernetes 1.35 on also
    `create`. Raises ApiError.
    """
    upgraded, what = await run_in_pod(
        client, namespace, pod, container, command, stdin=stdin, tty=tty
    )
    return Process(upgraded, what)


async def run_in_pod(
    client: Client,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    *,
    stdin: bool,
    tty: bool = False,
) -> tuple[Upgraded, Action]:
    """The connection below `exec_`, which carries the channels STDIN to STATUS."""
    path = PODS.path(namespace, pod, "exec")
    params = [("command", word) for word in command]
    params += [("container", container)] if container else []
    flags = {"stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
    params += [(name, "true" if value else "false") for name, value in flags.items()]
    try:
        upgraded = await client.upgrade(path, params, SUBPROTOCOLS)
    except Forbidden as error:
        raise explained(error, path) from error
    return upgraded, action("GET", path)


class Process:
    """A command that runs in a container; leaving the `async with` cuts the connection to it.

    A command that is cut off gets no signal, but its stdin ends and its output breaks.
    `stdout` and `stderr` share one connection: while much of one is unread, the other waits.
    """

    def __init__(self, upgraded: Upgraded, what: Action) -> None:
        self._channels = Channels(upgraded, self)
        self._can_close_stdin = upgraded.subprotocol == SUBPROTOCOLS[0]
        self._action = what
        self._status = bytearray()
        loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gates = [_Gate(self), _Gate(self)]
        self.stdout, self.stderr = (_reader(gate) for gate in self._gates)
        self._channels.transport.set_write_buffer_limits(_UNSENT_BYTES)
        self._channels.start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def write(self, data: Buffer) -> None:
        """Send to the command's stdin; call `drain` behind much of it."""
        self._channels.send(STDIN, (data,))

    async def drain(self) -> None:
        """Wait until more can be sent. Returns at once when the command has ended."""
        await self._writable.wait()

    def close_stdin(self) -> None:
        """Let the command see the end of its input behind what was written.

        Raises ExecError if the cluster is too old for that (before Kubernetes 1.30).
        """
        if not self._can_close_stdin:
            raise ExecError(
                "This cluster cannot tell a command that its input has ended",
                "It takes Kubernetes 1.30 or newer",
                "stdin cannot be closed",
                self._action,
            )
        self._channels.send(_CLOSE, (bytes((STDIN,)),))

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command's terminal its size, in characters."""
        self._channels.send(RESIZE, (json.dumps({"Width": columns, "Height": rows}).encode(),))

    async def wait(self) -> int:
        """Wait for the command's end and return its exit code, 128 and more for a signal.

        Raises ExecError if it could not be started or the connection to it broke. Output that
        nobody reads can hold it up.
        """
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        """Cut the connection, politely for some seconds at most."""
        self._channels.close()
        try:
            await asyncio.shield(self._gone)
        except asyncio.CancelledError:
            self._channels.abort()
            raise

    # -- channels.Receiver

    def channel_data(self, channel: int, data: memoryview, *, last: bool) -> None:
        """Take a piece of a message."""
        if channel == STDOUT:
            self.stdout.feed_data(data)
        elif channel == STDERR:
            self.stderr.feed_data(data)
        elif channel == STATUS:
            self._status += data[: _STATUS_BYTES - len(self._status)]
            if last:
                self._finish()

    def channels_lost(self, error: Exception | None) -> None:
        """End all that is waited for."""
        self._fail(f"the connection was lost: {error}" if error else "the connection was closed")
        self._end_output()
        self._writable.set()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` return."""
        self._writable.set()

    # -- the end

    def _finish(self) -> None:
        """Read the Status that the server sends behind all output."""
        try:
            value = json.loads(self._status)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self._fail("the server did not say how it ended")
        elif value.get("status") == "Success":
            self._set_exit(0)
        else:
            status = status_of(value)
            code = _exit_code(status)
            if code is None:
                self._fail(status.message or status.reason or "the server did not say why")
            else:
                self._set_exit(code)
        self._end_output()
        self._channels.close()

    def _set_exit(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    def _fail(self, reason: str) -> None:
        if self._exit.done():
            return
        pod, namespace = self._action.name, self._action.namespace
        self._exit.set_exception(
            ExecError(
                f"A command in the pod {pod} failed to run: {reason}",
                f"See how the pod is: kubectl describe pod {pod} -n {namespace}",
                reason,
                self._action,
            )
        )
        self._exit.exception()  # perhaps nobody waits for it

    def _end_output(self) -> None:
        self.stdout.feed_eof()
        self.stderr.feed_eof()

    def update_reading(self) -> None:
        """Read on or not, as the readers' gates have it."""
        if any(gate.shut for gate in self._gates):
            self._channels.pause_reading()
        else:
            self._channels.resume_reading()


class _Gate(asyncio.ReadTransport):
    """What one of the readers takes for its transport, to say when it has enough unread."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self.shut = False

    def pause_reading(self) -> None:
        self.shut = True
        self._process.update_reading()

    def resume_reading(self) -> None:
        self.shut = False
        self._process.update_reading()


def _reader(gate: _Gate) -> asyncio.StreamReader:
    # A StreamReader holds back its transport at twice its limit.
    reader = asyncio.StreamReader(_UNREAD_BYTES // 2)
    reader.set_transport(gate)
    return reader


def _exit_code(status: Status) -> int | None:
    """The command's own exit code, if it had one."""
    if status.reason != "NonZeroExitCode":
        return None
    for cause in status.causes:
        if cause.reason == "ExitCode" and cause.message.isascii() and cause.message.isdigit():
            return int(cause.message)
    return None


_CLOSE = 255
_STATUS_BYTES = 64 * 1024
