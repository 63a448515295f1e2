"""The sidecar of Istio beside this agent, if its pod has one."""

from __future__ import annotations

import contextlib
import socket

# The port of its agent: https://istio.io/latest/docs/ops/deployment/application-requirements/.
STATUS_PORT = 15020
_SECONDS = 2.0
_QUIT = b"POST /quitquitquit HTTP/1.0\r\nContent-Length: 0\r\n\r\n"


def quit_sidecar(port: int = STATUS_PORT) -> None:
    """Ask it to end; nothing happens when there is none.

    One that is a container as others are would keep the pod, and its Job, from ever completing.
    """
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), _SECONDS) as it,
    ):
        it.sendall(_QUIT)
        it.recv(1)
