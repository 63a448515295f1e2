"""Transports to an agent in a pod, by whichever way its user may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from towline.kube.client import Client
from towline.kube.errors import Forbidden
from towline.kube.execforward import exec_forward
from towline.kube.streams import port_forward

P = TypeVar("P", bound=asyncio.Protocol)


class Transports:
    """Makes transports to the port of an agent that runs in a container of this name."""

    def __init__(self, client: Client, namespace: str, container: str, port: int) -> None:
        self._client = client
        self._namespace = namespace
        self._container = container
        self._port = port

    async def connect(
        self, pod: str, protocol_factory: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        """A new transport, shaped as `loop.create_connection` gives it.

        It is a port-forward, or a command in the container for whoever may not forward ports.
        The former is tried each time: a refusal may pass, as those of webhooks do, and the
        latter costs more for as long as it lasts.
        """
        try:
            return await port_forward(
                self._client, self._namespace, pod, self._port, protocol_factory
            )
        except Forbidden as refusal:
            try:
                return await self._exec(pod, protocol_factory)
            except Forbidden:
                raise refusal from None

    async def _exec(
        self, pod: str, protocol_factory: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        where = (self._client, self._namespace, pod, self._container)
        return await exec_forward(*where, self._port, protocol_factory)
