"""nftables through libnftables: in this process, at once, with the kernel's own errors.

The standard library only. A table made with `flags owner` belongs to the context's netlink
socket: the kernel removes it when that closes, also on `kill -9` (Linux 5.12).
"""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path

LIBRARY = "libnftables.so.1"


class NftError(Exception):
    """libnftables is missing, or refused the commands; the text says which."""


class Nftables:
    """One libnftables context, hence one netlink socket that owns the tables made through it.

    `socket` is that socket once more (another descriptor of it): the owner's, to the kernel.
    """

    def __init__(self) -> None:
        self._library = _load()
        before = _netlink_sockets()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables gave no context")
        # libnftables has no call that tells it.
        opened = _netlink_sockets() - before
        if not opened:
            raise NftError("libnftables opened no netlink socket")
        self.socket = socket.socket(fileno=os.dup(opened.pop()))
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)

    def run(self, commands: str) -> None:
        """Carry out commands in nft's language, all or none; raises :class:`NftError`."""
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()):
            message = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
            raise NftError(message.strip())

    def close(self) -> None:
        """Give up the context, and with it the tables that it owns."""
        self.socket.close()
        self._library.nft_ctx_free(self._context)


def _netlink_sockets() -> set[int]:
    """List the descriptors of this process that are netlink sockets."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # no socket; or what lists the descriptors
            each = socket.socket(fileno=int(entry.name))
            if each.family == socket.AF_NETLINK:
                found.add(each.fileno())
            each.detach()
    return found


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NftError(f"{LIBRARY} cannot be loaded: {error}") from error
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for call in (library.nft_ctx_buffer_error, library.nft_ctx_buffer_output):
        call.argtypes = [context]
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = [context]
    library.nft_ctx_free.restype = None
    library.nft_ctx_free.argtypes = [context]
    return library
