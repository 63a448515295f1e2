"""The root helper: carries out a session's validated requests, and dies with the session.

Started as `python -I -m towline.redirect.helper` with a SOCK_SEQPACKET socket as standard
input. All that it makes in the kernel belongs to descriptors of it or of the session, so that
it has nothing to undo. The standard library only: it starts fast, and little runs as root.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence

from towline.redirect import messages, privileges
from towline.redirect.device import NoFreeAddressError, NoFreeRankError
from towline.redirect.kernel import Kernel
from towline.redirect.messages import InvalidRequest
from towline.redirect.nft import NftError
from towline.redirect.resolved import ResolvedError

_Reply = tuple[dict[str, object], Sequence[socket.socket | int]]


def main() -> None:
    """Run the helper until its peer is gone."""
    peer = _peer()
    if peer is None:
        sys.stderr.write("the helper's standard input is not the session's socket\n")
        sys.exit(messages.NO_PEER_STATUS)
    if os.geteuid() != 0:
        sys.exit("the helper is not root")
    privileges.keep_network_only()
    _leave_terminal()
    serve(peer)
    os._exit(0)


def serve(peer: socket.socket) -> None:
    """Answer requests, in order, until the peer closes its end; then let go of everything."""
    session = _Session()
    while data := _receive(peer):
        fields, descriptors = session.answer(data)
        message = messages.frame(fields)
        numbers = [each if isinstance(each, int) else each.fileno() for each in descriptors]
        try:
            socket.send_fds(peer, [message], numbers, socket.MSG_NOSIGNAL)
        except OSError:
            break
        session.sent(descriptors)
    session.close()


class _Session:
    """The state behind the requests: nothing before `Open`, then what it made."""

    def __init__(self) -> None:
        self._kernel: Kernel | None = None

    def answer(self, data: bytes) -> _Reply:
        """Carry out one request; gives the reply and the descriptors that go with it."""
        try:
            return self._carry_out(messages.parse(data))
        except InvalidRequest as error:
            return _failure("request", error)
        except NftError as error:
            return _failure("nftables", error)
        except ResolvedError as error:
            return _failure("resolved", error)
        except NoFreeRankError as error:
            return _failure("rank", error)
        except (OSError, NoFreeAddressError) as error:
            return _failure("kernel", error)

    def sent(self, descriptors: Sequence[socket.socket | int]) -> None:
        """Close what has been passed on: from here on it lives and dies with the session."""
        for each in descriptors:
            if isinstance(each, socket.socket):
                each.close()
            elif self._kernel:
                self._kernel.release_descriptor()

    def close(self) -> None:
        if self._kernel:
            self._kernel.close()

    def _carry_out(self, request: messages.Request) -> _Reply:
        if isinstance(request, messages.Hello):
            return {"pid": os.getpid()}, ()
        if isinstance(request, messages.Open):
            return self._open()
        if self._kernel is None:
            raise InvalidRequest("nothing is open")
        return _carry_out(self._kernel, request)

    def _open(self) -> _Reply:
        if self._kernel:
            raise InvalidRequest("open already")
        self._kernel = kernel = Kernel()
        made = kernel.device
        fields = {"device": made.name, "rank": made.rank, "ipv6": kernel.has_ipv6}
        return fields, (made.descriptor,)


def _carry_out(kernel: Kernel, request: messages.Request) -> _Reply:
    match request:
        case messages.ShareTable():
            return {}, (kernel.share_table(),)
        case messages.UpstreamSocket(version, transport):
            return {}, (kernel.upstream_socket(version, transport),)
        case messages.AddRoutes(ranges):
            refused = kernel.add_routes(ranges)
            return {"refused": {str(network): why for network, why in refused.items()}}, ()
    _change(kernel, request)
    return {}, ()


def _change(kernel: Kernel, request: messages.Request) -> None:
    match request:
        case messages.Admit(syn):
            kernel.admit(syn)
        case messages.Refuse(segment, answer):
            kernel.refuse(segment, answer)
        case messages.Forget(address, port):
            kernel.forget(address, port)
        case messages.RemoveRoutes(ranges):
            kernel.remove_routes(ranges)
        case messages.RedirectTcp(port):
            kernel.redirect_tcp(port)
        case messages.CaptureDns(nameservers, port):
            kernel.capture_dns(nameservers, port)
        case messages.SetLinkDns(domains, port):
            kernel.set_link_dns(domains, port)


def _failure(kind: str, error: Exception) -> _Reply:
    return {"error": kind, "reason": str(error)}, ()


def _peer() -> socket.socket | None:
    try:
        peer = socket.socket(fileno=0)
    except OSError:
        return None
    is_peer = (peer.family, peer.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return peer if is_peer else None


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(messages.MAX_MESSAGE_BYTES)
    except OSError:  # a reset is an end too
        return b""


def _leave_terminal() -> None:
    """Go on as a process of its own, outside the terminal's reach and without sudo above it.

    Ctrl-C and a closed terminal are for the session, which then ends in order. sudo, when the
    process that it watches has ended, ends as well: nothing of it stays between the two.
    """
    for each in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(each, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    os.chdir("/")


if __name__ == "__main__":
    main()
