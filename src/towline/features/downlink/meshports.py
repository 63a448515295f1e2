"""Which ports of a service a mesh tells requests apart on, and by what that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.errors import UsageError
from towline.features.downlink import ports
from towline.features.downlink.ports import ServicePort
from towline.kube.resources import Object
from towline.routing.protocols import Speaks, Told, ToldBy, told
from towline.wire.target import Port, Protocol, Target


@dataclass(frozen=True, slots=True)
class MeshPort:
    """A port of a service, and what it speaks."""

    service: ServicePort
    told: Told

    def is_routed(self, *, tls: bool) -> bool:
        """Whether the router gets it, which has the service's certificate with `tls`."""
        return self.told.speaks in _ROUTED or (tls and self.told.speaks is Speaks.TLS)

    def status(self) -> dict[str, Any]:
        """What it was taken to speak, fit for JSON."""
        return {
            "port": self.service.port.number,
            "protocol": self.service.port.protocol.name,
            "speaks": self.told.speaks.value,
            "told_by": self.told.by.value,
        }

    def __str__(self) -> str:
        if self.service.port.protocol is not Protocol.TCP:
            return f"{self.service.port}: not HTTP"
        return f"{self.service.port.number}: {self.told}"


_ROUTED = (Speaks.HTTP, Speaks.LOOK)


def of_service(service: Object, pods: Iterable[Object]) -> tuple[MeshPort, ...]:
    """The ports of a service. Raises UsageError as :func:`ports.of_service` does.

    Ports that lead to the same one of the pods speak the same: what the first says that says it.
    """
    served = ports.of_service(service, pods)
    by_listen: dict[Port, Told] = {}
    for each, entry in zip(served, service["spec"]["ports"], strict=True):
        known = by_listen.get(each.listen)
        if known is None or known.by is ToldBy.BYTES:
            by_listen[each.listen] = _told(each, entry)
    return tuple(MeshPort(each, by_listen[each.listen]) for each in served)


def choose(
    found: Sequence[MeshPort], texts: Sequence[str], *, tls: bool
) -> dict[ServicePort, Target]:
    """What answers here for which port: as `--expose` says, or for all that say they speak HTTP.

    If none does, for those that do not say what they speak. Raises UsageError for a port whose
    requests cannot be told apart.
    """
    if texts:
        chosen = ports.choose([each.service for each in found], texts)
    else:
        candidates = [each for each in found if each.is_routed(tls=True)]
        certain = [each for each in candidates if each.told.speaks is not Speaks.LOOK]
        chosen = ports.choose([each.service for each in certain or candidates], texts)
    if not chosen:
        raise UsageError(
            "None of its ports speaks HTTP: nothing tells whose a connection is. "
            f"They are {_listed(found)}.",
            "Say so by a port's appProtocol, if one does; or take all of it, by 'tow exchange'.",
        )
    for each in found:
        if each.service in chosen and not each.is_routed(tls=tls):
            raise _not_routed(each, found)
    return chosen


def _told(port: ServicePort, entry: Mapping[str, Any]) -> Told:
    if port.port.protocol is not Protocol.TCP:
        return Told(Speaks.OTHER, ToldBy.NAME, port.port.protocol.name)
    return told(entry)


def _not_routed(port: MeshPort, found: Sequence[MeshPort]) -> UsageError:
    number = port.service.port.number
    others = [
        str(each.service.port.number)
        for each in found
        if each.is_routed(tls=False) and each.service.port != port.service.port
    ]
    without = f" Or leave it out, as by --expose {','.join(others)}." if others else ""
    if port.told.speaks is Speaks.TLS:
        return UsageError(
            f"Its port {number} speaks TLS ({port.told.by} {port.told.word}): without the "
            "service's certificate nobody sees whose a request is.",
            "Name the Secret with its tls.crt and tls.key: --tls-secret NAME." + without,
        )
    return UsageError(
        f"Its port {port}: nothing tells whose a connection is. It passes untouched to the "
        "original pods.",
        "Say so by its appProtocol, if it is HTTP; or take all of it, by 'tow exchange'." + without,
    )


def _listed(found: Sequence[MeshPort]) -> str:
    return ", ".join(map(str, found)) or "none"
