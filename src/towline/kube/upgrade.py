"""Turn an HTTP request into a WebSocket and take its connection over from aiohttp.

aiohttp connects, with its TLS, proxies and headers, and reads the answer; from then on the raw
transport is ours alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict

from towline.kube.errors import ApiError, from_response
from towline.kube.resources import action
from towline.wire import websocket

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Mapping, Sequence

    import yarl

# The server answers as soon as the node's kubelet has; it gives up dialing that after 30 s.
_TIMEOUT = aiohttp.ClientTimeout(total=45.0, sock_connect=10.0)

# Of an answer that says no.
_ERROR_BYTES = 1 << 20


class UpgradeBlocked(ApiError):  # noqa: N818  # says what happened, as those in errors do
    """Something between us and the API server does not let WebSockets pass."""


class Upgraded:
    """A connection that speaks WebSocket now.

    The transport does not read until :meth:`attach` gives it a protocol; drop it by `abort()`.
    """

    def __init__(self, transport: asyncio.Transport, subprotocol: str, parked: _Parked) -> None:
        self.transport = transport
        self.subprotocol = subprotocol
        self._parked = parked

    def attach(self, protocol: asyncio.BaseProtocol) -> bytes:
        """Make `protocol` the one that the transport calls, from the next turn of the loop on.

        Gives what has been received already, for the protocol to take first; it may be all that
        ever comes. `connection_made` is not called.
        """
        self.transport.set_protocol(protocol)
        if self._parked.lost:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, self._parked.error)
        else:
            self.transport.resume_reading()
        return bytes(self._parked.data)


async def upgrade(
    session: aiohttp.ClientSession,
    url: yarl.URL,
    *,
    headers: Mapping[str, str],
    ssl: ssl_module.SSLContext | None,
    proxy: str | None,
    subprotocols: Sequence[str],
) -> Upgraded:
    """Ask for a WebSocket (RFC 6455, section 4.1) with one of the subprotocols, best first.

    Raises ApiError: what the server's Status says, or UpgradeBlocked. aiohttp's own errors,
    TimeoutError and OSError pass through.
    """
    key = websocket.new_key()
    fields = CIMultiDict(headers)
    fields["Connection"] = "Upgrade"
    fields["Upgrade"] = "websocket"
    fields["Sec-WebSocket-Version"] = "13"
    fields["Sec-WebSocket-Key"] = key
    fields["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)
    response = await session.get(
        url,
        headers=fields,
        ssl=ssl or True,
        proxy=proxy,
        allow_redirects=False,
        timeout=_TIMEOUT,
    )
    if response.status != 101:
        async with response:
            body = await _read_some(response.content)
        raise _refusal(url.path, response, body)
    try:
        _check(response, url.path, key, subprotocols)
        return _take_over(response)
    finally:
        response.close()


def _check(
    response: aiohttp.ClientResponse, path: str, key: str, subprotocols: Sequence[str]
) -> None:
    """Refuse an answer that is not one to this very request."""
    headers = response.headers
    wrong = ""
    if headers.get("Upgrade", "").lower() != "websocket" or response.connection is None:
        wrong = "it does not say that it upgrades to a WebSocket"
    elif headers.get("Sec-WebSocket-Accept") != websocket.accept_of(key):
        wrong = "it does not belong to this request"
    elif headers.get("Sec-WebSocket-Protocol") not in subprotocols:
        given = headers.get("Sec-WebSocket-Protocol", "none")
        wrong = f"its subprotocol is {given} instead of {' or '.join(subprotocols)}"
    elif "Sec-WebSocket-Extensions" in headers:
        wrong = "it turns on an extension that was not asked for"
    if wrong:
        raise _blocked(path, f"the answer is not a valid WebSocket handshake: {wrong}")


def _take_over(response: aiohttp.ClientResponse) -> Upgraded:
    """Make aiohttp forget a connection without closing it. There is no await on purpose."""
    connection = response.connection
    if connection is None or connection.protocol is None or connection.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol, transport = connection.protocol, connection.transport
    parked = _Parked()
    protocol.set_parser(parked, None)
    # Closing the response now releases the connection, and finds no transport to close with it.
    protocol.transport = None
    transport.pause_reading()
    transport.set_protocol(parked)
    return Upgraded(transport, response.headers["Sec-WebSocket-Protocol"], parked)


class _Parked(asyncio.Protocol):
    """Keeps what comes before there is someone to take it.

    To aiohttp it is a WebSocket parser, which is fed what was received behind the answer.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False
        self.error: Exception | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.error = exc


async def _read_some(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while len(body) < _ERROR_BYTES and (data := await content.read(_ERROR_BYTES - len(body))):
        body += data
    return bytes(body)


def _refusal(path: str, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    """The error for an answer other than 101."""
    error = from_response("GET", path, response.status, body, response.headers)
    if 200 <= response.status < 300 or response.status in (426, 501):
        return _blocked(path, f"the answer to a WebSocket request is {_line(response)}")
    # What the API server says when it does not see the request's Upgrade header, and what its
    # and other WebSocket servers say when they miss one of the others.
    message = error.status.message.lower() if error.status else ""
    if response.status == 400 and "upgrade" in message:
        return _blocked(path, f"the server did not see that a WebSocket was asked for ({message})")
    return error


def _blocked(path: str, why: str) -> UpgradeBlocked:
    return UpgradeBlocked(
        f"Something on the way to the API server does not let WebSockets pass: {why}",
        "A proxy or load balancer between here and the cluster must pass on the HTTP headers "
        "Connection and Upgrade; ask its owner, or reach the API server without it "
        "(proxy-url in the kubeconfig, HTTPS_PROXY, NO_PROXY)",
        action=action("GET", path),
    )


def _line(response: aiohttp.ClientResponse) -> str:
    return f"{response.status} {response.reason or ''}".rstrip()
