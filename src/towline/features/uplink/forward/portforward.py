"""Brings local connections to a pod by the API's port-forward: no agent is needed for it.

It has no half-close: the end of either direction ends both. A client that has said all it will may
be gone, or may wait for an answer; so it gets what the pod says until that falls silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

from towline.features.uplink import joined
from towline.features.uplink.forward.pods import FollowedPod
from towline.features.uplink.forward.ports import Chosen, of_pod
from towline.features.uplink.forward.streams import NOBODY
from towline.features.uplink.forward.troubles import Troubles
from towline.features.uplink.joined import Side
from towline.features.uplink.reach import why
from towline.kube.client import Client
from towline.kube.errors import ApiError
from towline.kube.streams import PortForwardError, port_forward
from towline.relay import sockets
from towline.wire.frames import Reason
from towline.wire.target import Port, Protocol

# A pod falls silent when it has said nothing for so long.
SILENCE_SECONDS = 1.0
# How nodes tell of it.
_RESET = "connection reset by peer"


class ByPod:
    """Carries what comes to local ports to the pod that is followed.

    `listens` tells of ports of a service where they are in its pods: a number, or a port's name.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        pod: FollowedPod,
        listens: Mapping[Port, int | str],
        troubles: Troubles,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._pod = pod
        self._listens = listens
        self._troubles = troubles

    async def carry(self, transport: asyncio.Transport, port: Chosen) -> None:
        """Join a connection to one to the pod, or reset it and say why there is none."""
        there = _There(
            lambda: self._troubles.worked(port),
            lambda error: self._failed(port, error),
        )
        try:
            await self._reach(port, there)
        except ApiError as error:
            self._troubles.failed(port, error.summary)
            sockets.abort_with_reset(transport)
            return
        except LookupError as error:
            self._troubles.failed(port, str(error.args[0]))
            sockets.abort_with_reset(transport)
            return
        here = _Here()
        transport.set_protocol(here)
        here.connection_made(transport)
        joined.join(here, there, b"")

    def _failed(self, port: Chosen, error: Exception) -> None:
        """A connection came to nothing; a pod that resets it has accepted it."""
        reason = error.reason if isinstance(error, PortForwardError) else str(error)
        if isinstance(error, PortForwardError) and error.refused:
            reason = why(Reason.REFUSED)
        if _RESET not in reason:
            self._troubles.failed(port, reason)

    async def _reach(self, port: Chosen, there: _There) -> None:
        """Raises ApiError, and LookupError when there is no such pod or port."""
        if not self._pod.name:
            raise LookupError(NOBODY)
        target = self._listens.get(port.remote, port.remote.number)
        number = target if isinstance(target, int) else self._named(target)
        where = (self._client, self._namespace, self._pod.name, number)
        await port_forward(*where, lambda: there)

    def _named(self, name: str) -> int:
        offered = of_pod(self._pod.spec or {"containers": []})
        tcp = (each.port for each in offered if each.port.protocol is Protocol.TCP)
        names = {each.port: each.name for each in offered}
        found = next((port.number for port in tcp if names[port] == name), None)
        if found is None:
            raise LookupError(f"its pod has no port {name}")
        return found


class _Here(Side):
    """The client's end."""

    def eof_received(self) -> bool:
        """It says no more; it may still listen."""
        cast("_There", self._other).finish()
        return True


class _There(Side):
    """The end in the pod."""

    def __init__(self, worked: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        super().__init__()
        self._worked = worked
        self._failed = failed
        self._heard = False
        self._finishing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the other side. What the connection below is set to is not ours to say."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._note_worked()
        super().data_received(data)
        if self._finishing is not None:
            self.finish()

    def finish(self) -> None:
        """Close when the pod has fallen silent."""
        if self._finishing is not None:
            self._finishing.cancel()
        loop = asyncio.get_running_loop()
        self._finishing = loop.call_later(SILENCE_SECONDS, self._finish)

    def connection_lost(self, exc: BaseException | None) -> None:
        """An end in order is one for the client, too; else it is cut off."""
        self._lost = True
        if self._finishing is not None:
            self._finishing.cancel()
        if exc is None:
            self._note_worked()
        elif not self._heard:
            self._failed(cast("Exception", exc))
        if self._other is not None:
            end = sockets.abort_with_reset if exc else sockets.close_in_order
            end(self._other.transport)

    def _finish(self) -> None:
        # Silent for want of a client that reads is not silent.
        if self.transport.is_reading() or self.transport.is_closing():
            self.transport.close()
        else:
            self.finish()

    def _note_worked(self) -> None:
        if not self._heard:
            self._heard = True
            self._worked()
