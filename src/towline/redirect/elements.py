"""Adds and deletes elements of nf_tables sets by netlink, in a few microseconds.

libnftables reads all chains and sets of the machine before it changes anything: with a large
firewall milliseconds, for every new destination. The standard library only.
"""

from __future__ import annotations

import socket
import struct

from towline.redirect.packets import IPAddress
from towline.relay import netlink

# Of linux/netfilter/nf_tables.h.
_NEW_ELEMENT, _DELETE_ELEMENT = netlink.NF_TABLES | 12, netlink.NF_TABLES | 14
_FAMILY_INET = 1
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_LIST_ELEMENT, _KEY, _VALUE = 1, 1, 1


class Elements:
    """Changes elements whose key is `address . port`, through the socket that owns the table.

    Methods raise OSError with the kernel's errno.
    """

    def __init__(self, owner: socket.socket) -> None:
        self._socket = owner
        owner.setblocking(False)

    def add(self, table: str, name: str, address: IPAddress, port: int) -> None:
        """Add an element; one that is there keeps the time that it has left."""
        self._change(_NEW_ELEMENT, netlink.CREATE, _body(table, name, address, port))

    def delete(self, table: str, name: str, address: IPAddress, port: int) -> None:
        """Delete an element; FileNotFoundError when there is none."""
        self._change(_DELETE_ELEMENT, 0, _body(table, name, address, port))

    def _change(self, kind: int, flags: int, body: bytes) -> None:
        netlink.change(self._socket, netlink.message(kind, flags | netlink.ACK, body))


def _body(table: str, name: str, address: IPAddress, port: int) -> bytes:
    # Each part of a key fills whole registers of four bytes.
    key = address.packed + struct.pack(">Hxx", port)
    element = netlink.nested(_LIST_ELEMENT, netlink.nested(_KEY, netlink.attribute(_VALUE, key)))
    return (
        struct.pack(">BBH", _FAMILY_INET, 0, 0)
        + netlink.attribute(_TABLE, table.encode() + b"\0")
        + netlink.attribute(_SET, name.encode() + b"\0")
        + netlink.nested(_ELEMENTS, element)
    )
