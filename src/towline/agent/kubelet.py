"""The kubelet of this pod's node: where its probes come from, and how they are told from others."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

# What a probe looks like on the wire: with a name of its own in an HTTP request, or just anything.
HTTP, OTHER = "http", "other"

# Probes and hooks, of kubelet's pkg/probe/http and pkg/kubelet/lifecycle.
_AGENTS = (b"kube-probe/", b"kube-lifecycle/")
_METHOD = b"GET "
# A probe's request comes at once and in one piece, and has few headers.
HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 1.0

_ROUTES4, _ROUTES6 = "/proc/net/route", "/proc/net/ipv6_route"


@dataclass(frozen=True)
class Kubelet:
    """The addresses that it probes this pod from, and as what it probes which TCP port."""

    addresses: frozenset[IPAddress] = frozenset()
    probed: Mapping[int, str] = field(default_factory=dict)

    def exempt(self, port: int) -> tuple[IPAddress, ...]:
        """The addresses whose connections to a port may be probes, and cannot be told from any."""
        return tuple(self.addresses) if self.probed.get(port) == OTHER else ()

    def may_ask(self, port: int, host: str) -> bool:
        """Whether what comes to a port from an address may be an HTTP request of its."""
        return self.probed.get(port) == HTTP and ipaddress.ip_address(host) in self.addresses


def parse_probed(text: str) -> tuple[int, str]:
    """Read `PORT=http` or `PORT=other`. Raises ValueError for anything else."""
    port, _, kind = text.partition("=")
    if kind not in (HTTP, OTHER):
        raise ValueError(f"{kind!r} is not a kind of probe")
    return int(port), kind


def is_request(head: bytes) -> bool | None:
    """Whether the first bytes of a connection are a request of a kubelet; None: more is needed."""
    if not head.startswith(_METHOD[: len(head)]):
        return False
    lines = head.split(b"\r\n")
    for line in lines[1:-1]:
        name, _, value = line.partition(b":")
        if not line or name.strip().lower() == b"user-agent":
            return value.strip().startswith(_AGENTS)
    return None if len(head) < HEAD_BYTES else False


def gateways(routes4: str = _ROUTES4, routes6: str = _ROUTES6) -> frozenset[IPAddress]:
    """The routers that this pod's default routes lead to: with most networks, its node.

    As proc(5) has the routes: an IPv4 address is one number in the host's byte order.
    """
    found: set[IPAddress] = {
        ipaddress.IPv4Address(struct.pack("=I", int(words[2], 16)))
        for words in _lines(routes4)
        if len(words) > 7 and words[1] == words[7] == "00000000"
    }
    found |= {
        ipaddress.IPv6Address(bytes.fromhex(words[4]))
        for words in _lines(routes6)
        if len(words) > 4 and words[0] == "0" * 32 and words[1] == "00"
    }
    return frozenset(each for each in found if not each.is_unspecified)


def _lines(path: str) -> Iterable[list[str]]:
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError:  # without IPv6 there is no such file
        return
    for line in text.splitlines():
        yield line.split()
