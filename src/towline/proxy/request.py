"""What a client wants of a proxy for SOCKS, whichever version it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from towline.wire.frames import Reason
from towline.wire.target import Target


@dataclass(frozen=True, slots=True)
class Request:
    """A connection to `target`; or an association, for datagrams, with its client's address."""

    target: Target
    is_association: bool = False


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
