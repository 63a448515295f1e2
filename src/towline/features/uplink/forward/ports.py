"""Which ports an object offers, and which of them are wanted where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from towline.errors import UsageError
from towline.features.uplink.forward.target import Wish
from towline.kube.resources import Object
from towline.wire.target import Port, Protocol


@dataclass(frozen=True, slots=True)
class Offered:
    """A port that an object tells of, and its name, if it has one."""

    port: Port
    name: str = ""

    def __str__(self) -> str:
        return f"{self.port} ({self.name})" if self.name else str(self.port)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A port to be forwarded from a local one; from any free one for 0."""

    remote: Port
    local: int


def of_service(service: Object) -> list[Offered]:
    """Those of a service that can be forwarded."""
    return _offered((each, each["port"]) for each in service["spec"].get("ports") or ())


def listens(service: Object) -> dict[Port, int | str]:
    """Where ports of a service are in its pods: the number, or the name of a port there."""
    return {
        Port(each["port"]): each.get("targetPort") or each["port"]
        for each in service["spec"].get("ports") or ()
    }


def of_pod(pod_spec: Object) -> list[Offered]:
    """Those that a pod's containers tell of, which need not be all."""
    return _offered(
        (each, each["containerPort"])
        for container in pod_spec["containers"]
        for each in container.get("ports") or ()
    )


def choose(offered: Sequence[Offered], wishes: Iterable[Wish], *, others: bool) -> list[Chosen]:
    """The ports that are meant; all that are offered if there is no wish.

    `others` allows numbers that are not offered. Raises UsageError.
    """
    chosen = [each for wish in wishes for each in _meant(offered, wish, others=others)]
    chosen = chosen or [Chosen(each.port, each.port.number) for each in offered]
    if not chosen:
        raise UsageError("It tells of no port.", "Name one, as in 8080:80.")
    for index, each in enumerate(chosen):
        taken = [one for one in chosen[:index] if one.local == each.local != 0]
        if any(one.remote.protocol == each.remote.protocol for one in taken):
            raise UsageError(f"The local port {each.local} is to lead to two ports.")
    return chosen


def _meant(offered: Sequence[Offered], wish: Wish, *, others: bool) -> list[Chosen]:
    """A name, or a number without a protocol, may be that of a port of each protocol."""
    word, slash, protocol = wish.remote.partition("/")
    found = [
        each.port
        for each in offered
        if word in (each.name, str(each.port.number))
        and (not slash or protocol.upper() == each.port.protocol.name)
    ]
    if not found and others and word.isdecimal():
        found = [Port.parse(wish.remote)]
    if not found:
        there = ", ".join(map(str, offered)) or "none"
        raise UsageError(f"There is no port {wish.remote} to forward.", f"There are: {there}.")
    return [Chosen(port, port.number if wish.local is None else wish.local) for port in found]


def _offered(entries: Iterable[tuple[Object, int]]) -> list[Offered]:
    return [
        Offered(Port(number, Protocol[protocol]), entry.get("name", ""))
        for entry, number in entries
        if (protocol := entry.get("protocol", "TCP")) in Protocol.__members__
    ]
