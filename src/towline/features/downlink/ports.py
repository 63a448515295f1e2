"""The ports of a service or workload: where its traffic goes in a pod, and which is wanted here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from towline.errors import UsageError
from towline.features.local import expose
from towline.features.local.expose import LOCALHOST, Exposed
from towline.kube.resources import Object
from towline.wire.target import Port, Protocol, Target


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service, its name if it has one, and where an agent listens for it.

    A target port with a name is one that the agent's container must have, too.
    """

    port: Port
    name: str
    listen: Port
    target_name: str = ""

    def is_meant(self, text: str) -> bool:
        """Whether `NUMBER` or a name, either with `/PROTOCOL` or without, means this port."""
        name, slash, protocol = text.partition("/")
        if name == self.name:
            return not slash or protocol.upper() == self.port.protocol.name
        try:
            wanted = Port.parse(text)
        except ValueError:
            return False
        return wanted == self.port or ("/" not in text and wanted.number == self.port.number)


def of_service(service: Object, pods: Iterable[Object]) -> list[ServicePort]:
    """The ports of a service, of which `pods` are the original ones.

    A target port's name may stand for another number in each pod: the first pod's is taken,
    which matters for headless services alone, whose clients choose the number themselves.
    Raises UsageError for a protocol that cannot be intercepted, and a name of two protocols.
    """
    entries = [(_port(each), each) for each in service["spec"].get("ports") or []]
    targets = [each.get("targetPort") or port.number for port, each in entries]
    taken = {
        Port(target, port.protocol)
        for (port, _), target in zip(entries, targets, strict=True)
        if isinstance(target, int)
    }
    named = _Named(list(pods), taken)
    return [
        ServicePort(port, entry.get("name", ""), Port(target, port.protocol))
        if isinstance(target, int)
        else ServicePort(port, entry.get("name", ""), named.number(target, port), target)
        for (port, entry), target in zip(entries, targets, strict=True)
    ]


def has_names(service: Object) -> bool:
    """Whether it takes a service's pods to know where its traffic goes in them."""
    return any(isinstance(each.get("targetPort"), str) for each in service["spec"].get("ports", ()))


def of_containers(pod: Object, texts: Sequence[str]) -> list[ServicePort]:
    """The ports of a pod, by its spec: those that it tells of, and those that `--expose` names.

    A pod may listen on more ports than it tells of. Raises UsageError for a protocol that cannot
    be intercepted.
    """
    found: dict[Port, ServicePort] = {}
    for container in pod["containers"]:
        for each in container.get("ports") or []:
            port, name = _port({**each, "port": each["containerPort"]}), each.get("name", "")
            found.setdefault(port, ServicePort(port, name, port, name))
    for wish in expose.wishes(texts):
        if not any(each.is_meant(wish.remote) for each in found.values()):
            with suppress(ValueError):
                port = Port.parse(wish.remote)
                found[port] = ServicePort(port, "", port)
    return list(found.values())


class _Named:
    """Chooses the numbers of ports that are known by their names."""

    def __init__(self, pods: Sequence[Object], taken: set[Port]) -> None:
        self._pods = pods
        self._taken = taken
        self._chosen: dict[tuple[str, Protocol], Port] = {}

    def number(self, name: str, port: Port) -> Port:
        """The one that a pod has under a name, or the service's own."""
        key = (name, port.protocol)
        if any(name == other and key[1] != protocol for other, protocol in self._chosen):
            raise UsageError(
                f"Its ports lead to ports of the pods that are called {name} in each protocol, "
                "which one container cannot have.",
                "With --mode ephemeral the agent needs no names.",
            )
        if key not in self._chosen:
            wanted = next(self._in_pods(*key), port.number)
            numbers = itertools.chain(range(wanted, 65536), range(1, wanted))
            free = (Port(number, port.protocol) for number in numbers)
            self._chosen[key] = next(each for each in free if each not in self._taken)
            self._taken.add(self._chosen[key])
        return self._chosen[key]

    def _in_pods(self, name: str, protocol: Protocol) -> Iterator[int]:
        for pod in self._pods:
            for container in pod["spec"]["containers"]:
                for each in container.get("ports") or []:
                    if (each.get("name"), each.get("protocol", "TCP")) == (name, protocol.name):
                        yield each["containerPort"]


def choose(ports: Sequence[ServicePort], texts: Sequence[str]) -> dict[ServicePort, Target]:
    """What answers here for which port: as `--expose` says, or all by their own numbers.

    Raises UsageError for what the service does not have, and for what cannot be told apart.
    """
    if not texts:
        return {each: Target(LOCALHOST, each.port.number) for each in ports}
    chosen: dict[ServicePort, Target] = {}
    for wish in expose.wishes(texts):
        meant = [each for each in ports if each.is_meant(wish.remote)]
        if not meant:
            raise UsageError(
                f"There is no port {wish.remote} to intercept.",
                "There are: " + ", ".join(map(_label, ports)) + ".",
            )
        for each in meant:
            if each in chosen:
                raise UsageError(f"Port {_label(each)} is exposed twice.")
            chosen[each] = Target(wish.host, wish.local or each.port.number)
    return _with_siblings(ports, chosen)


def _with_siblings(
    ports: Sequence[ServicePort], chosen: dict[ServicePort, Target]
) -> dict[ServicePort, Target]:
    """Add the ports that lead to the same port of the pods: they arrive alike."""
    by_listen: dict[Port, ServicePort] = {}
    for each, local in chosen.items():
        other = by_listen.setdefault(each.listen, each)
        if chosen[other] != local:
            raise UsageError(
                f"Ports {_label(other)} and {_label(each)} both lead to port {each.listen} of the "
                "pods: they cannot go to different ports here."
            )
    return {each: chosen[by_listen[each.listen]] for each in ports if each.listen in by_listen}


def by_listen(chosen: Mapping[ServicePort, Target]) -> dict[Port, Target]:
    """What answers here for which port that an agent listens on."""
    return {each.listen: local for each, local in chosen.items()}


def known_as(chosen: Iterable[ServicePort], listen: Port) -> list[Port]:
    """The ports under which clients know one that an agent listens on."""
    return [each.port for each in chosen if each.listen == listen]


def exposed(chosen: Mapping[ServicePort, Target]) -> tuple[Exposed, ...]:
    """The same, by the ports under which clients know them."""
    return tuple(Exposed(each.port, local) for each, local in chosen.items())


def _label(port: ServicePort) -> str:
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _port(entry: Mapping[str, Any]) -> Port:
    protocol = entry.get("protocol", "TCP")
    if protocol not in Protocol.__members__:
        raise UsageError(
            f"Its port {entry['port']} is of {protocol}, which cannot be passed on.",
            "Nothing was changed: such clients would have been cut off.",
        )
    return Port(entry["port"], Protocol[protocol])
