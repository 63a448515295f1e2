"""Port-forward to a pod, as an asyncio transport.

transport, protocol = await port_forward(client, "dev", "web-0", 8080, MyProtocol)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from towline.kube.channels import Buffer, Channels
from towline.kube.errors import ApiError, Forbidden, from_status
from towline.kube.resources import PODS, Action, action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from towline.kube.client import Client
    from towline.kube.upgrade import Upgraded

P = TypeVar("P", bound=asyncio.Protocol)

SUBPROTOCOL = "v4.channel.k8s.io"

# What a kubelet may say in its error; it is a line or two.
_ERROR_BYTES = 16 * 1024


class PortForwardError(ApiError):
    """A port-forward ended because of `reason`, in the words of the node or of the connection.

    `refused` tells that the pod has nothing that listens on the port.
    """

    def __init__(self, summary: str, hint: str, reason: str, what: Action) -> None:
        super().__init__(summary, hint, action=what)
        self.reason = reason
        self.refused = "connection refused" in reason.lower()


async def port_forward(
    client: Client,
    namespace: str,
    pod: str,
    port: int,
    protocol_factory: Callable[[], P],
) -> tuple[PortForwardTransport, P]:
    """Connect to a port on a pod's loopback, as `loop.create_connection` does to an address.

    It returns as soon as the API server and the pod's node agree to forward. Whether anything
    listens on the port shows later: if not, the protocol's connection_lost gets a
    PortForwardError. So does every other end but an orderly one. TCP's half-close does not
    exist here: the end of either direction ends both.

    The user needs the right `get` on pods/portforward in the namespace, because a WebSocket
    begins with a GET, and from Kubernetes 1.35 on also `create`, which it checks besides
    (feature gate AuthorizePodWebsocketUpgradeCreatePermission). Raises ApiError.
    """
    path = PODS.path(namespace, pod, "portforward")
    try:
        upgraded = await client.upgrade(path, [("ports", str(port))], [SUBPROTOCOL])
    except Forbidden as error:
        raise explained(error, path) from error
    return started(PortForwardTransport(upgraded, pod, port, action("GET", path)), protocol_factory)


def started(
    transport: PortForwardTransport, protocol_factory: Callable[[], P]
) -> tuple[PortForwardTransport, P]:
    """The transport with its protocol, which has been told; if that fails, nothing is left."""
    try:
        protocol = protocol_factory()
        transport.start(protocol)
    except BaseException:
        transport.abort()
        raise
    return transport, protocol


def explained(error: Forbidden, path: str) -> Forbidden:
    """The same refusal with the rights that it takes to open a stream at `path`.

    Users are often given `create` alone, which is what SPDY streams need, or `get` alone, which
    was enough for WebSockets before Kubernetes 1.35.
    """
    status = error.status
    if status is None or "admission" in status.message.lower():
        return error
    # The refusal of `get` says so; that of `create`, which comes second, gives no verb.
    what = action("GET" if "cannot get" in status.message else "POST", path)
    again = from_status(status, what)
    hint = f"It takes the rights to get and to create {what.resource}/{what.subresource}"
    return Forbidden(again.summary, f"{hint}. {again.hint}", action=what, status=status)


class PortForwardTransport(asyncio.Transport):
    """A connection to a port of a pod. Data is given to the protocol in views of what came in.

    `get_extra_info` answers for the TLS connection to the API server, and `pod` and `port`.
    """

    way = "port-forward"
    """What it is called in errors."""

    def __init__(self, upgraded: Upgraded, pod: str, port: int, what: Action) -> None:
        super().__init__({"pod": pod, "port": port})
        self._channels = Channels(upgraded, self)
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self._action = what
        self._reading = True
        # The first message on each channel is the port, in two bytes.
        self._prefix = [2, 2]
        self._complaint = bytearray()

    def start(self, protocol: asyncio.Protocol) -> None:
        """Call the protocol's connection_made and begin to receive."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._channels.start()

    # -- asyncio.Transport

    def write(self, data: Buffer) -> None:
        """Send; the data must not be changed until the write buffer is empty."""
        self._channels.send(_DATA, (data,))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the buffers in as few messages as there can be, without joining bulk."""
        self._channels.send(_DATA, list_of_data)

    def can_write_eof(self) -> bool:
        """There is no half-close."""
        return False

    def write_eof(self) -> None:
        """There is no half-close."""
        raise NotImplementedError("a port-forward has no half-close")

    def close(self) -> None:
        """Send what was written and close; for some seconds at most."""
        self._channels.close()

    def abort(self) -> None:
        """Close at once and drop what was not sent yet."""
        self._channels.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or being closed, by either side."""
        return self._channels.closing

    def pause_reading(self) -> None:
        """Give the protocol nothing until resume_reading."""
        self._reading = False
        self._channels.pause_reading()

    def resume_reading(self) -> None:
        """Go on receiving."""
        self._reading = True
        self._channels.resume_reading()

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes in."""
        return self._reading and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol's pause_writing and resume_writing are called; in bytes."""
        self._channels.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The limits (low, high), in bytes."""
        return self._channels.transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent, those that TLS and framing add included."""
        return self._channels.transport.get_write_buffer_size()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The current protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Switch to another protocol; its connection_made is not called."""
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See the class."""
        own = super().get_extra_info(name)
        return own if own is not None else self._channels.transport.get_extra_info(name, default)

    # -- channels.Receiver

    def channel_data(self, channel: int, data: memoryview, *, last: bool) -> None:
        """Take a piece of a message."""
        if channel > _ERROR:
            return
        if prefix := self._prefix[channel]:
            self._prefix[channel] -= min(prefix, len(data))
            data = data[prefix:]
        if not data:
            return
        if channel == _DATA:
            self._protocol.data_received(data)  # type: ignore[attr-defined]
        else:
            self._complaint += data[: _ERROR_BYTES - len(self._complaint)]
            if last:
                reason = self._complaint.decode("utf-8", "replace").strip()
                self._channels.close(error=self._failure(reason))

    def channels_lost(self, error: Exception | None) -> None:
        """Tell the protocol."""
        if error is not None and not isinstance(error, PortForwardError):
            failure = self._failure(str(error))
            failure.__cause__ = error
            error = failure
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """Tell the protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol."""
        self._protocol.resume_writing()

    def _failure(self, reason: str) -> PortForwardError:
        pod, port = self.get_extra_info("pod"), self.get_extra_info("port")
        namespace = self._action.namespace
        if "connection refused" in reason.lower():
            summary = f"Nothing listens on the port {port} of the pod {pod}"
            hint = "The program in the pod may still be starting; it must listen on 127.0.0.1 too"
        else:
            summary = f"The {self.way} to the port {port} of the pod {pod} ended: {reason}"
            hint = f"See how the pod is: kubectl describe pod {pod} -n {namespace}"
        return PortForwardError(summary, hint, reason, self._action)


_DATA = 0
_ERROR = 1
