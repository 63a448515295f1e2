"""A connection to a port of a pod for whoever may run commands there but not forward ports.

The command joins its input and output to the port. As an asyncio transport it is what
:func:`towline.kube.streams.port_forward` gives, with one copy more on its way.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, TypeVar

from towline.kube.exec import STATUS, STDERR, STDOUT, run_in_pod
from towline.kube.streams import PortForwardError, PortForwardTransport, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from towline.kube.client import Client
    from towline.kube.resources import Action
    from towline.kube.upgrade import Upgraded

P = TypeVar("P", bound=asyncio.Protocol)

# Runs in any Python from 3.9 on. It ends with the connection: when the session is gone its input
# ends, which the agent takes for the end of the link, and closes.
_BRIDGE = """\
import os,socket,sys,threading
try: s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))
except OSError as e: sys.exit(str(e))
s.setsockopt(socket.IPPROTO_TCP,socket.TCP_NODELAY,1)
def send():
    while 1:
        d=os.read(0,65536)
        if not d: break
        s.sendall(d)
    s.shutdown(1)
threading.Thread(target=send,daemon=True).start()
while 1:
    d=s.recv(65536)
    if not d: os._exit(0)
    while d: d=d[os.write(1,d):]
"""

# What a command may complain of; the last line says what it died of.
_COMPLAINT_BYTES = 16 * 1024


async def exec_forward(
    client: Client,
    namespace: str,
    pod: str,
    container: str,
    port: int,
    protocol_factory: Callable[[], P],
) -> tuple[PortForwardTransport, P]:
    """Connect to a port on a pod's loopback by a command in a container that has `python3`.

    Errors show as with a port-forward, and the right it takes is that of `exec_`.
    """
    command = ["python3", "-ISc", _BRIDGE, str(port)]
    upgraded, what = await run_in_pod(client, namespace, pod, container, command, stdin=True)
    return started(_ExecTransport(upgraded, pod, port, what), protocol_factory)


async def exec_program(
    client: Client,
    namespace: str,
    pod: str,
    container: str,
    command: Sequence[str],
    preface: bytes,
    protocol_factory: Callable[[], P],
) -> tuple[PortForwardTransport, P]:
    """Connect to the input and output of a command in a container, which gets `preface` first.

    Errors show as with a port-forward, and the right it takes is that of `exec_`.
    """
    upgraded, what = await run_in_pod(client, namespace, pod, container, command, stdin=True)
    transport = _ProgramTransport(upgraded, pod, 0, what)
    transport.write(preface)
    return started(transport, protocol_factory)


class _ExecTransport(PortForwardTransport):
    """The same to its user; only the channels from the pod are others."""

    way = "connection by exec"

    def __init__(self, upgraded: Upgraded, pod: str, port: int, what: Action) -> None:
        super().__init__(upgraded, pod, port, what)
        self._status = bytearray()

    def channel_data(self, channel: int, data: memoryview, *, last: bool) -> None:
        """Take a piece of a message."""
        if channel == STDOUT and data:
            self._protocol.data_received(data)  # type: ignore[attr-defined]
        elif channel == STDERR:
            self._complaint += data[: _COMPLAINT_BYTES - len(self._complaint)]
        elif channel == STATUS:
            self._status += data[: _COMPLAINT_BYTES - len(self._status)]
            if last:
                self._finish()

    def _finish(self) -> None:
        """The command has ended, and all its output is here."""
        try:
            status = json.loads(self._status)
        except ValueError:
            status = {}
        if status.get("status") == "Success":
            self._channels.close()
            return
        said = self._complaint.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else str(status.get("message") or "the command failed")
        self._channels.close(error=self._failure(reason))


class _ProgramTransport(_ExecTransport):
    """To a command itself."""

    def _failure(self, reason: str) -> PortForwardError:
        pod, namespace = self.get_extra_info("pod"), self._action.namespace
        hint = f"See how the pod is: kubectl describe pod {pod} -n {namespace}"
        return PortForwardError(
            f"The program in the pod {pod} ended: {reason}", hint, reason, self._action
        )
