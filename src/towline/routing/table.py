"""Who takes part in a mesh, with which rules, and where their requests go: the table.

It is kept with the interception, and each change makes one of a higher revision.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from towline.errors import UsageError
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.rules import Match
from towline.wire.target import Port, Target

Json = Mapping[str, Any]

# Loopback ports of the pod: those of participants, on which the agent listens, and below them the
# router's own, one a routed port. Both are below what Linux gives to outgoing connections.
_FIRST_SLOT = 20001
_SLOTS = 7000
_FIRST_FALLBACK = 19001
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RoutedPort:
    """A port of the service whose requests are told apart, by its number in the pods.

    `fallback` is the router's port, on loopback, for requests whose participant is not there;
    `original` is where the original pods are reached: the twin's name or address. With `affinity`
    each client stays with one pod.
    """

    port: int
    speaks: Speaks
    told_by: ToldBy
    fallback: int
    original: Target
    affinity: bool = False

    def to_values(self) -> dict[str, Any]:
        """The port as JSON has it."""
        return {
            "port": self.port,
            "protocol": self.speaks.value,
            "told_by": self.told_by.value,
            "fallback": self.fallback,
            "original": {"host": self.original.host, "port": self.original.port},
            **({"affinity": True} if self.affinity else {}),
        }

    @classmethod
    def from_values(cls, values: Json) -> RoutedPort:
        """Read what JSON gave. Raises LookupError, TypeError or ValueError."""
        original = Target(_text(values["original"]["host"]), _number(values["original"]["port"]))
        return cls(
            _number(values["port"]),
            Speaks(values["protocol"]),
            ToldBy(values["told_by"]),
            _number(values["fallback"]),
            original,
            values.get("affinity") is True,
        )


@dataclass(frozen=True, slots=True)
class Participant:
    """One person's part: which requests, and to which `slots` they go.

    `slots` are loopback ports of the pod, by the service's ports in it (`80/TCP`): the agent
    listens on them for the participant. One with `copy` gets copies. Of rules that overlap, those
    of the higher `priority` win. `since` is a time as ISO 8601 has it, `owner` is user@host.
    """

    id: str
    owner: str
    since: str
    match: tuple[Match, ...]
    slots: Mapping[Port, int] = field(default_factory=dict)
    copy: bool = False
    priority: int = 0
    leaving: bool = False

    def to_values(self) -> dict[str, Any]:
        """The participant as JSON has it."""
        return {
            "id": self.id,
            "owner": self.owner,
            "since": self.since,
            "match": [str(each) for each in self.match],
            "slots": {str(port): slot for port, slot in self.slots.items()},
            **({"copy": True} if self.copy else {}),
            **({"priority": self.priority} if self.priority else {}),
            **({"leaving": True} if self.leaving else {}),
        }

    @classmethod
    def from_values(cls, values: Json) -> Participant:
        """Read what JSON gave. Raises LookupError, TypeError, ValueError or UsageError."""
        return cls(
            _text(values["id"]),
            _text(values["owner"]),
            _text(values["since"]),
            tuple(Match.parse(_text(each)) for each in values["match"]),
            {Port.parse(port): _number(slot) for port, slot in values["slots"].items()},
            values.get("copy") is True,
            _integer(values.get("priority", 0)),
            values.get("leaving") is True,
        )


@dataclass(frozen=True, slots=True)
class Conflict:
    """That a request may satisfy both a rule of `other` and one that somebody wants."""

    other: Participant
    theirs: Match
    wanted: Match


@dataclass(frozen=True, slots=True)
class Slot:
    """A loopback port that the agent is to listen on, and where to pass on what nobody takes.

    Without `original` (what comes is a copy) it is refused.
    """

    port: int
    original: Target | None


@dataclass(frozen=True, slots=True)
class Table:
    """A mesh: the routed ports, and who takes part. Changes give a new one, a revision higher."""

    ports: tuple[RoutedPort, ...]
    participants: tuple[Participant, ...] = ()
    revision: int = 0

    def joining(self, who: Participant, taken: Collection[int] = ()) -> Table:
        """With one more, who wants the ports that are the keys of their slots.

        The slots' numbers are chosen here, other than `taken`, what else listens in the pod; those
        that they had are not looked at. Raises UsageError when a port is not routed.
        """
        routed = {Port(each.port) for each in self.ports}
        if strange := [port for port in who.slots if port not in routed]:
            raise UsageError(
                f"The requests of {strange[0]} cannot be told apart: it is not routed."
            )
        free = self._free(taken)
        slots = {port: next(free) for port in who.slots}
        return self._changed((*self.participants, replace(who, slots=slots)))

    def leaving(self, *ids: str) -> Table:
        """With those getting no new requests; what they have goes on. Unknown ones are ignored."""
        return self._changed(
            replace(each, leaving=True) if each.id in ids else each for each in self.participants
        )

    def without(self, *ids: str) -> Table:
        """Without those; mark them as leaving in a revision before, lest requests find nothing."""
        return self._changed(each for each in self.participants if each.id not in ids)

    def conflicts(self, who: Participant) -> tuple[Conflict, ...]:
        """What of others may want the same requests on a port, with the same priority."""
        return tuple(
            Conflict(other, theirs, wanted)
            for other in self.participants
            if _compete(who, other)
            for theirs in other.match
            for wanted in who.match
            if theirs.overlaps(wanted)
        )

    def participant(self, id_: str) -> Participant | None:
        """The one of that id."""
        return next((each for each in self.participants if each.id == id_), None)

    def present(self) -> tuple[Participant, ...]:
        """Those that are not leaving."""
        return tuple(each for each in self.participants if not each.leaving)

    def slots(self) -> tuple[Slot, ...]:
        """What the agent is to listen on for the participants."""
        fallbacks = {Port(each.port): Target(LOOPBACK, each.fallback) for each in self.ports}
        return tuple(
            Slot(slot, None if each.copy else fallbacks.get(port))
            for each in self.participants
            for port, slot in each.slots.items()
        )

    def to_values(self) -> dict[str, Any]:
        """The table as JSON has it."""
        return {
            "revision": self.revision,
            "ports": [each.to_values() for each in self.ports],
            "participants": [each.to_values() for each in self.participants],
        }

    @classmethod
    def from_values(cls, values: object) -> Table:
        """Read what JSON gave; unknown properties are ignored. Raises ValueError."""
        try:
            return cls._of(cast(Json, values))
        except (LookupError, TypeError, AttributeError, ValueError, UsageError) as error:
            raise ValueError(f"no table of a mesh: {error}") from None

    @classmethod
    def _of(cls, values: Json) -> Table:
        ports = tuple(RoutedPort.from_values(each) for each in values["ports"])
        participants = tuple(Participant.from_values(each) for each in values["participants"])
        routed = {Port(each.port) for each in ports}
        slots = [slot for each in participants for slot in each.slots.values()]
        if any(not each.slots.keys() <= routed for each in participants):
            raise ValueError("a participant has a port that is not routed")
        ids = {each.id for each in participants}
        if len(ids) < len(participants) or len({*slots}) < len(slots) or len(routed) < len(ports):
            raise ValueError("something is there twice")
        return cls(ports, participants, _integer(values["revision"]))

    def _changed(self, participants: Iterable[Participant]) -> Table:
        return Table(self.ports, tuple(participants), self.revision + 1)

    def _free(self, taken: Collection[int]) -> Iterator[int]:
        """Numbers for slots; one that was somebody's is not soon another's, who may not know yet
        that it is theirs no more.
        """
        used = {slot for each in self.participants for slot in each.slots.values()}
        used |= {number for each in self.ports for number in (each.port, each.fallback)}
        begin = _FIRST_SLOT + self.revision % _SLOTS
        numbers = itertools.chain(range(begin, _FIRST_SLOT + _SLOTS), itertools.count(_FIRST_SLOT))
        return (slot for slot in numbers if slot not in used | {*taken})


def fallback_port(taken: Collection[int]) -> int:
    """A loopback port for a routed port's fallback, other than what else listens in the pod."""
    return next(port for port in itertools.count(_FIRST_FALLBACK) if port not in taken)


def _compete(who: Participant, other: Participant) -> bool:
    same_kind = who.copy == other.copy and who.priority == other.priority
    shared = who.slots.keys() & other.slots.keys()
    return same_kind and bool(shared) and who.id != other.id and not other.leaving


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> int:
    """That of a port."""
    if not 0 < _integer(value) < 65536:
        raise ValueError(f"{value!r} is no port")
    return _integer(value)


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no number")
    return value
