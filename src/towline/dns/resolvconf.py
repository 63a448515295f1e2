"""What /etc/resolv.conf says (resolv.conf(5)), read again whenever the file has changed."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from towline.wire.dns import DnsError, Name

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = Path("/etc/resolv.conf")

# The limits of glibc's resolver (resolv/resolv.h).
MAX_NAMESERVERS = 3
MAX_NDOTS = 15
MAX_TIMEOUT_SECONDS = 30
MAX_ATTEMPTS = 5

# What is sent to no address in particular comes to this machine (ip(7)).
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing is bound)


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """A resolver's configuration.

    `nameservers` are numeric addresses, link-local ones with their zone (`fe80::1%eth0`);
    `timeout` is in seconds and per nameserver.
    """

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[Name, ...] = ()
    ndots: int = 1
    timeout: float = 5
    attempts: int = 2
    rotate: bool = False


def parse(text: str, *, hostname: str = "") -> ResolvConf:
    """Read a resolv.conf as glibc does: what it does not know or cannot use is ignored.

    Without `search` and `domain` the search list is the domain part of `hostname`.
    """
    nameservers: list[str] = []
    search = _names([hostname.partition(".")[2]])
    conf = ResolvConf()
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if line[:1] in "#; \t" or not values:
            continue
        if keyword == "nameserver" and _is_address(values[0]):
            nameservers.append(_THIS_MACHINE.get(values[0], values[0]))
        elif keyword == "search":
            search = _names(values)
        elif keyword == "domain":
            search = _names(values[:1])
        elif keyword == "options":
            conf = _with_options(conf, values)
    servers = tuple(nameservers[:MAX_NAMESERVERS]) or conf.nameservers
    return replace(conf, nameservers=servers, search=search)


class ResolvConfFile:
    """A resolv.conf on disk; VPN and network managers replace it at any time."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self._seen: object = None
        self._conf = ResolvConf()

    def current(self) -> ResolvConf:
        """Return what the file says now; without a file, the defaults."""
        seen = self._stamp()
        if seen != self._seen:
            self._conf = self._read()
            self._seen = seen
        return self._conf

    def _stamp(self) -> object:
        try:
            stat = self._path.stat()
        except OSError:
            return ()
        return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def _read(self) -> ResolvConf:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        return parse(text, hostname=socket.gethostname())


def _names(texts: Iterable[str]) -> tuple[Name, ...]:
    names = []
    for text in texts:
        try:
            name = Name.of(text)
        except DnsError:
            continue
        if name.labels:
            names.append(name)
    return tuple(names)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _with_options(conf: ResolvConf, options: Iterable[str]) -> ResolvConf:
    for option in options:
        keyword, _, value = option.partition(":")
        number = int(value) if value.isdecimal() else None
        if keyword == "rotate":
            conf = replace(conf, rotate=True)
        elif number is None:
            continue
        elif keyword == "ndots":
            conf = replace(conf, ndots=min(number, MAX_NDOTS))
        elif keyword == "timeout":
            conf = replace(conf, timeout=max(1, min(number, MAX_TIMEOUT_SECONDS)))
        elif keyword == "attempts":
            conf = replace(conf, attempts=max(1, min(number, MAX_ATTEMPTS)))
    return conf
