"""What a Mux tells its user: light objects, told apart by their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Mapping

    from towline.wire.frames import Buffer, Kind, Reason


@dataclass
class HelloReceived:
    """The peer speaks our version; `properties` are what it says of itself."""

    __slots__ = ("properties", "version")
    version: int
    properties: Mapping[str, object]


@dataclass
class Opened:
    """The peer opened a stream: to be answered by `accept` or `reset`. Data may follow at once."""

    __slots__ = ("kind", "stream", "target")
    stream: int
    kind: Kind
    target: bytes


@dataclass
class Accepted:
    """The peer accepted a stream of ours."""

    __slots__ = ("stream",)
    stream: int


@dataclass
class Data:
    """Bytes of a stream: a view that stays valid, and keeps its buffer alive, while it is held."""

    __slots__ = ("data", "stream")
    stream: int
    data: Buffer


@dataclass
class Eof:
    """The peer sends no more on this stream."""

    __slots__ = ("stream",)
    stream: int


@dataclass
class Reset:
    """The peer ended the stream in both directions."""

    __slots__ = ("reason", "stream")
    stream: int
    reason: Reason


@dataclass
class Credit:
    """More may be sent on this stream."""

    __slots__ = ("stream",)
    stream: int


@dataclass
class Pong:
    """The peer answered our ping."""

    __slots__ = ("token",)
    token: int


@dataclass
class GoAway:
    """The peer takes no new streams, and will end the link when those there are have ended."""

    __slots__ = ("reason",)
    reason: str


Event = Union[HelloReceived, Opened, Accepted, Data, Eof, Reset, Credit, Pong, GoAway]
