"""What a client wants of a proxy, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from towline.wire.frames import Reason
from towline.wire.target import Target

Take = Callable[[bytes], bytes]
"""Of what a client says from now on, what is to be passed on."""


def everything(data: bytes) -> bytes:
    """All of it."""
    return data


@dataclass(frozen=True, slots=True)
class Request:
    """A connection to `target`; for an association, which is for datagrams, the client's address.

    `said` is what the target is to be told at first. Of what the client says later, `take` says
    what is for the target.
    """

    target: Target
    is_association: bool = False
    said: bytes = b""
    take: Take = everything


class Malformed(Exception):  # noqa: N818
    """A client does not keep to the protocol; it gets the `answer`, and no more."""

    def __init__(self, why: str, answer: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer


class Dialect(Protocol):
    """A conversation in one protocol, up to the answer to the request."""

    request: Request | None
    """What is wanted, as soon as that is known."""

    rest: bytes
    """What the client has said behind the request."""

    def receive(self, data: bytes) -> bytes:
        """Take in what the client says; gives what it is to be told. Raises Malformed."""

    def accepted(self, bound: Target) -> bytes:
        """What it is told when there is a connection, or an association at `bound`."""

    def refused(self, reason: Reason, why: str) -> bytes:
        """What it is told when there is none."""
