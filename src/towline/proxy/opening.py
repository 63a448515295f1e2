"""A connection to the proxy until it is known what is wanted: its first byte tells the protocol."""

from __future__ import annotations

from towline.proxy import socks4, socks5
from towline.proxy.request import Dialect
from towline.proxy.socks4 import Socks4
from towline.proxy.socks5 import Socks5


def dialect(first: int) -> Dialect | None:
    """The SOCKS that a client speaks which begins with this byte; None for HTTP."""
    if first == socks5.VERSION:
        return Socks5()
    if first == socks4.VERSION:
        return Socks4()
    return None
