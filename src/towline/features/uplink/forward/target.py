"""What is to be reached, and which ports: `TARGET [LOCAL:]REMOTE[/PROTOCOL]…`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from towline.errors import UsageError
from towline.features.reference import Reference
from towline.wire.target import Port, checked_name

ANY_FREE = 0
_WITH_PORT = re.compile(r"(?:\[([^]]+)\]|([^:[\]]+))(?::([^:]+))?")


@dataclass(frozen=True, slots=True)
class Host:
    """A host as the cluster sees it: an address, or a name that is looked up in a pod."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Wish:
    """A port as written: `remote` is a number or a name; `local` is None for the same number."""

    remote: str
    local: int | None = None


def parse(text: str, ports: Iterable[str]) -> tuple[Reference | Host, list[Wish]]:
    """Read a command's arguments. Raises UsageError.

    `NAME` is a service and `KIND/NAME` an object; what has a dot or a colon in it, or is behind
    `host/`, is a host, which may have a port with it, as in `db.internal:5432`.
    """
    wishes = [_wish(each) for each in ports]
    kind, slash, name = text.partition("/")
    if slash and kind != "host":
        return Reference.parse(text), wishes
    if not slash and not {".", ":"} & set(text):
        return Reference.parse(text), wishes
    host, port = _host(name if slash else text)
    if port:
        wishes.insert(0, Wish(port))
    if not wishes:
        raise UsageError(
            f"Which port of {host} is meant?", f"Name it, as in 'tow forward {host} 5432'."
        )
    return host, wishes


def _host(text: str) -> tuple[Host, str]:
    """The host, and the port with it, or ""."""
    found = _WITH_PORT.fullmatch(text)
    inner, name, port = found.groups() if found else (None, text, None)
    try:
        # Alone, and in brackets, it may be an address of IPv6. Zones mean nothing elsewhere.
        is_six = inner is not None or text.count(":") > 1
        host = str(IPv6Address(inner or text)) if is_six else checked_name(name)
        if port:
            Port.parse(port)
        if "%" in host:
            raise ValueError(host)
    except ValueError:
        raise UsageError(
            f"'{text}' is no host.",
            "Write a name or an address, with a port or without: db.internal:5432.",
        ) from None
    return Host(host), port or ""


def _wish(text: str) -> Wish:
    local, colon, remote = text.rpartition(":")
    try:
        if not remote or remote.startswith("/"):
            raise ValueError(text)
        if remote[0].isdecimal():
            Port.parse(remote)
        if not colon:
            return Wish(remote)
        number = int(local or ANY_FREE)
        if not 0 <= number < 65536:
            raise ValueError(text)
        return Wish(remote, number)
    except ValueError:
        raise UsageError(
            f"'{text}' does not say which port to forward.",
            "Write REMOTE or LOCAL:REMOTE, as in 8080:80, 8080:http or 5353:53/udp; with LOCAL 0 "
            "a free port is chosen.",
        ) from None
