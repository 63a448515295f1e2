"""The few requests of rtnetlink(7) that the device needs: link, addresses, routes.

The standard library only: it runs in the root helper.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Self

from towline.relay import netlink
from towline.relay.netlink import attribute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from towline.redirect.messages import IPNetwork
    from towline.redirect.packets import IPAddress

_NEW = netlink.ACK | netlink.CREATE | netlink.EXCL
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 16, 20, 24, 25, 26
_RTM_F_FIB_MATCH = 0x2000
_IFF_UP, _IFF_MULTICAST = 0x1, 0x1000
_IFLA_MTU, _IFLA_TXQLEN = 4, 13
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RTMSG_BYTES = 12
_TABLE_MAIN, _PROTO_STATIC, _TYPE_UNICAST = 254, 4, 1
# Who makes the route to an interface's own network: the kernel, or a router's advertisement.
_PROTO_KERNEL, _PROTO_RA = 2, 9
_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

_REPLY_BYTES = 8192
# Their acknowledgements wait in the socket's buffer, in which each takes a kilobyte or so.
_AT_ONCE = 64


class Rtnetlink:
    """A netlink socket to the kernel's routing; its methods raise OSError with the kernel's errno.

    `index` is always the device's interface index.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def set_up(self, index: int, mtu: int, queue: int) -> None:
        """Bring a device up, without multicast; `queue` is how many packets wait to be read."""
        head = struct.pack("=BxHiII", 0, 0, index, _IFF_UP, _IFF_UP | _IFF_MULTICAST)
        values = attribute(_IFLA_MTU, struct.pack("=I", mtu))
        values += attribute(_IFLA_TXQLEN, struct.pack("=I", queue))
        self._request(_RTM_NEWLINK, netlink.ACK, head + values)

    def add_address(self, index: int, address: IPAddress) -> None:
        """Give a device an address of its own, without a subnet."""
        flags = _IFA_F_NODAD if address.version == 6 else 0
        family = _FAMILY[address.version]
        head = struct.pack("=BBBBi", family, address.max_prefixlen, flags, _SCOPE_GLOBAL, index)
        values = attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
        self._request(_RTM_NEWADDR, _NEW, head + values)

    def add_routes(
        self, index: int, networks: Sequence[IPNetwork], metric: int
    ) -> dict[IPNetwork, OSError]:
        """Lead ranges to a device; gives what the kernel says of those that it does not.

        FileExistsError for one that leads elsewhere at this metric.
        """
        return self._change_routes(_RTM_NEWROUTE, _NEW, index, networks, metric)

    def remove_routes(
        self, index: int, networks: Sequence[IPNetwork], metric: int
    ) -> dict[IPNetwork, OSError]:
        """Undo :meth:`add_routes`; gives what the kernel says of those that it does not remove.

        Nothing is said of those that are not there.
        """
        refused = self._change_routes(_RTM_DELROUTE, netlink.ACK, index, networks, metric)
        # ESRCH is what the kernel says of a route that is not there.
        return {net: why for net, why in refused.items() if why.errno != errno.ESRCH}

    def matching_prefix(self, address: IPAddress) -> int | None:
        """Give the prefix length of the route that an address falls under; None without any."""
        try:
            return self._route_of(address)[1]
        except OSError as error:
            if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
                return None
            raise

    def is_near(self, address: IPAddress) -> bool:
        """Whether an address is this machine's, or in a network that this machine is part of."""
        try:
            route = self._route_of(address)
        except OSError:  # there is none, or it leads nowhere
            return False
        protocol, kind = route[5], route[7]
        if kind != _TYPE_UNICAST:
            return True
        has_gateway = _RTA_GATEWAY in netlink.attribute_kinds(route[_RTMSG_BYTES:])
        return protocol in {_PROTO_KERNEL, _PROTO_RA} and not has_gateway

    def _route_of(self, address: IPAddress) -> bytes:
        """Give the route that an address falls under, from its `struct rtmsg` on."""
        length = address.max_prefixlen
        head = struct.pack(
            "=BBBBBBBBI", _FAMILY[address.version], length, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH
        )
        reply = self._request(_RTM_GETROUTE, 0, head + attribute(_RTA_DST, address.packed))
        return reply[netlink.HEADER_BYTES :]

    def _change_routes(
        self, kind: int, flags: int, index: int, networks: Sequence[IPNetwork], metric: int
    ) -> dict[IPNetwork, OSError]:
        """Have the kernel carry out a request for each of some networks, whatever comes of others.

        It answers each one by itself and in order, before send() returns.
        """
        refused = {}
        for start in range(0, len(networks), _AT_ONCE):
            part = networks[start : start + _AT_ONCE]
            requests = (netlink.message(kind, flags, _route(index, net, metric)) for net in part)
            self._socket.send(b"".join(requests))
            for network in part:
                try:
                    netlink.raise_error(self._socket.recv(_REPLY_BYTES))
                except OSError as error:
                    refused[network] = error
        return refused

    def _request(self, kind: int, flags: int, body: bytes) -> bytes:
        """Send a request and give its reply: an acknowledgement, or what was asked for."""
        self._socket.send(netlink.message(kind, flags, body))
        reply = self._socket.recv(_REPLY_BYTES)
        netlink.raise_error(reply)
        return reply


def _route(index: int, network: IPNetwork, metric: int) -> bytes:
    is_ipv4 = isinstance(network, ipaddress.IPv4Network)
    head = struct.pack(
        "=BBBBBBBBI",
        _FAMILY[network.version],
        network.prefixlen,
        0,
        0,
        _TABLE_MAIN,
        _PROTO_STATIC,
        _SCOPE_LINK if is_ipv4 else _SCOPE_GLOBAL,
        _TYPE_UNICAST,
        0,
    )
    return (
        head
        + attribute(_RTA_DST, network.network_address.packed)
        + attribute(_RTA_OIF, struct.pack("=i", index))
        + attribute(_RTA_PRIORITY, struct.pack("=I", metric))
    )
