"""What one session holds in the kernel: device, table, raw sockets. The helper's hands.

The standard library only.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from towline.redirect import device, packets, resolved, ruleset
from towline.redirect.elements import Elements
from towline.redirect.messages import Answer, InvalidRequest, IPNetwork, Transport
from towline.redirect.networks import Networks
from towline.redirect.nft import Nftables, NftError
from towline.redirect.packets import IPAddress, Segment, Unreachable

if TYPE_CHECKING:
    from towline.redirect.device import Device

# Destinations with less time left than this are opened anew, so that the SYN that is sent
# again after it cannot come too late.
_RENEW_SECONDS = 5
_KEEP_OPENED = 4096  # above this many remembered destinations the expired are dropped

_IP_PKTINFO = 8  # ip(7); the socket module has no name for it before Python 3.14
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_TRANSPORT = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}


class Kernel:
    """Makes device and table at construction; all of it is gone when the process is.

    Methods raise OSError or :class:`NftError` for what the kernel refuses, and
    :class:`InvalidRequest` for what it must not be asked.
    """

    def __init__(self) -> None:
        self._nft = Nftables()
        self._elements = Elements(self._nft.socket)
        self._raw = {version: _raw_socket(version) for version in (4, 6)}
        self.device = self._create()
        self.has_ipv6 = device.configure(self.device)
        self._ranges = Networks()
        self._opened: dict[tuple[IPAddress, int], float] = {}

    def release_descriptor(self) -> None:
        """Close the helper's own descriptor of the device: the session's one carries it."""
        os.close(self.device.descriptor)

    def share_table(self) -> socket.socket:
        """Give a descriptor of the socket that owns the table, which stays as long as any is open.

        To change the table takes the rights of who uses the socket, not of who made it.
        """
        return self._nft.socket.dup()

    def close(self) -> None:
        """Remove the table and close the sockets."""
        self._nft.close()
        for raw in self._raw.values():
            if raw:
                raw.close()

    def add_routes(self, ranges: tuple[IPNetwork, ...]) -> dict[IPNetwork, str]:
        """Lead ranges to the device; those of IPv6 only where there is IPv6.

        Gives why the kernel leads some of them not.
        """
        # Each once: the kernel would say of the second that it is there.
        new = [
            network
            for network in dict.fromkeys(ranges)
            if network not in self._ranges and (network.version == 4 or self.has_ipv6)
        ]
        refused = device.add_routes(self.device, new)
        for network in new:
            if network not in refused:
                self._ranges.add(network)
        return {network: _why(error) for network, error in refused.items()}

    def remove_routes(self, ranges: tuple[IPNetwork, ...]) -> None:
        """Undo :meth:`add_routes`; all that can be removed is."""
        gone = [network for network in dict.fromkeys(ranges) if network in self._ranges]
        refused = device.remove_routes(self.device, gone)
        for network in gone:
            if network not in refused:
                self._ranges.discard(network)
        for error in refused.values():
            raise error

    def redirect_tcp(self, port: int) -> None:
        """Redirect connections to open destinations to a port."""
        self._nft.run(ruleset.redirect_tcp(self.device.rank, port))

    def capture_dns(self, nameservers: tuple[IPAddress, ...], port: int) -> None:
        """Redirect queries to nameservers to a port."""
        self._nft.run(ruleset.capture_dns(self.device.rank, nameservers, port))

    def set_link_dns(self, domains: tuple[str, ...], port: int) -> None:
        """Have systemd-resolved ask a port for names in domains, or without any no more.

        Raises :class:`~towline.redirect.resolved.ResolvedError` too.
        """
        rank = self.device.rank
        if domains:
            self._nft.run(ruleset.capture_link(rank, port))
            resolved.set_link(self.device.name, domains)
        else:
            resolved.set_link(self.device.name, ())
            self._nft.run(ruleset.capture_link(rank, 0))

    def admit(self, syn: Segment) -> None:
        """Open the SYN's destination and send it again, through the device as the first time."""
        self._open(syn.packet.destination, syn.destination_port)
        self._send(syn.packet.version, syn.packet.data, syn.packet.destination, self.device.index)

    def refuse(self, segment: Segment, answer: Answer) -> None:
        """Answer a segment as its destination would have.

        The answer goes by a raw socket, that is over the loopback device, where host firewalls
        let everything pass: to conntrack it belongs to nothing, since the SYN went untracked,
        and most firewalls drop that from any other device.
        """
        self._check_answer(segment)
        if answer == "reset":
            data = packets.reset_for(segment)
        else:
            data = packets.unreachable_for(segment.packet, Unreachable(answer))
        if data:
            self._send(segment.packet.version, data, segment.packet.source)

    def forget(self, address: IPAddress, port: int) -> None:
        """Close a destination; nothing happens when it is not open."""
        self._opened.pop((address, port), None)
        with suppress(FileNotFoundError):  # its time has run out
            self._elements.delete(
                self.device.name, ruleset.open_set(address.version), address, port
            )

    def upstream_socket(self, version: int, transport: Transport) -> socket.socket:
        """Make a socket whose queries :meth:`capture_dns` leaves alone."""
        made = socket.socket(_FAMILY[version], _TRANSPORT[transport] | socket.SOCK_CLOEXEC)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, ruleset.mark(self.device.rank))
        return made

    def _create(self) -> Device:
        """Find a rank that is free as a device and as a table.

        The table of a session that is just ending may outlive its device for a moment.
        """
        taken: set[int] = set()
        while True:
            made = device.create(taken)
            try:
                self._nft.run(ruleset.create_table(made.rank))
            except NftError as error:
                os.close(made.descriptor)
                if not any(text in str(error) for text in ("not permitted", "File exists")):
                    raise
                taken.add(made.rank)
            else:
                return made

    def _open(self, address: IPAddress, port: int) -> None:
        now = time.monotonic()
        left = self._opened.get((address, port), 0) - now
        if left > _RENEW_SECONDS:
            return
        if left > 0:  # adding what is there would not extend its time
            self.forget(address, port)
        self._elements.add(self.device.name, ruleset.open_set(address.version), address, port)
        if len(self._opened) >= _KEEP_OPENED:
            self._opened = {key: end for key, end in self._opened.items() if end > now}
        self._opened[address, port] = now + ruleset.OPEN_SECONDS

    def _check_answer(self, segment: Segment) -> None:
        """Let no answer speak for others than the session's ranges, nor reach another machine."""
        packet = segment.packet
        if not self._ranges.cover(packet.destination):
            raise InvalidRequest("the destination is in none of the session's ranges")
        with socket.socket(_FAMILY[packet.version], socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((str(packet.source), 0))
            except OSError as error:
                raise InvalidRequest("the source is not this machine") from error

    def _send(self, version: int, data: bytes, to: IPAddress, index: int = 0) -> None:
        raw = self._raw[version]
        if raw is None:
            raise InvalidRequest(f"this machine has no IPv{version}")
        # Not SO_BINDTODEVICE: the redirected packet must be able to leave by the loopback device.
        if version == 4:
            info = (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=iII", index, 0, 0))
        else:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16xi", index))
        raw.sendmsg([data], [info] if index else [], 0, (str(to), 0))


def _why(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "a route of the same metric is here"
    return error.strerror or str(error)


def _raw_socket(version: int) -> socket.socket | None:
    try:
        return socket.socket(
            _FAMILY[version], socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW
        )
    except OSError:
        if version == 4:
            raise
        return None
