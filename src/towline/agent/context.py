"""What all ports of one agent have in common."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Callable

from towline.agent.addresses import Addresses
from towline.agent.kubelet import Kubelet
from towline.agent.underway import Underway
from towline.relay.outbox import Allowance

# All copies and datagrams together stay well below the pod's memory.
WAITING_BYTES = 64 * 1024 * 1024

Run = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task that its owner ends."""


@dataclass(frozen=True)
class Context:
    """How ports run work, count what is under way, know originals, and share the pod's memory.

    `waiting` is for copies and datagrams that somebody is too slow for. With a `kubelet` the ports
    belong to others in this pod: the kernel redirects what comes to listeners of its own choice.
    """

    run: Run
    underway: Underway
    addresses: Addresses
    waiting: Allowance
    kubelet: Kubelet | None = None
