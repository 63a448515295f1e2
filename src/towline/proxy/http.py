"""HTTP/1 as a proxy is spoken to (RFC 9110, RFC 9112): CONNECT, and requests for http:// URLs.

A connection carries one such request: it is passed on with `Connection: close`, so that the answer
ends with the connection, whatever it is. Only an upgrade, such as a WebSocket's, goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from towline.proxy.body import Body
from towline.proxy.request import Malformed, Request, everything
from towline.proxy.socks5 import checked
from towline.wire.frames import Reason
from towline.wire.target import Target

_LONGEST_HEAD = 64 * 1024
_END = b"\r\n\r\n"
_VIA = "1.1 tow"
# RFC 9110 section 7.6.1, with what clients say to proxies only. The body is passed on as it is, and
# so is what says how it is framed.
_FOR_US = frozenset(
    ("connection", "proxy-connection", "keep-alive", "te", "upgrade", "proxy-authorization")
)
_FRAMING = frozenset(("transfer-encoding", "content-length", "trailer"))
_STATUS = {
    400: "Bad Request",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_STATUS_OF = {Reason.TIMED_OUT: 504, Reason.LINK_LOST: 503, Reason.GOING_AWAY: 503}

Field = tuple[str, str]


class Head(NamedTuple):
    """The first line of a request, and its fields in their order."""

    method: str
    target: str
    version: str
    fields: Sequence[Field]

    def values(self, name: str) -> list[str]:
        """The values of a field, of lists each."""
        found = (value for field, value in self.fields if field.lower() == name)
        return [part.strip() for value in found for part in value.split(",") if part.strip()]


class Http:
    """One conversation (:class:`towline.proxy.request.Dialect`)."""

    def __init__(self) -> None:
        self.request: Request | None = None
        self.rest = b""
        self._tunnel = False

    def receive(self, data: bytes) -> bytes:
        """See the class."""
        self.rest += data
        if self.request is None:
            head, end, rest = self.rest.partition(_END)
            if len(head) > _LONGEST_HEAD:
                raise _malformed(431, "The head of the request is too long.")
            if end:
                self.request, self.rest = self._read(_parse(head)), rest
        return b""

    def accepted(self, bound: Target) -> bytes:
        """See the class; of a request that is passed on, the target's answer is the answer."""
        del bound
        return b"HTTP/1.1 200 Connection established\r\n\r\n" if self._tunnel else b""

    def refused(self, reason: Reason, why: str) -> bytes:
        """See the class."""
        target = self.request.target if self.request else None
        where = f"{target.host}, port {target.port}" if target else "the target"
        return _answer(_STATUS_OF.get(reason, 502), f"tow cannot reach {where}: {why}.")

    def _read(self, head: Head) -> Request:
        if head.method == "CONNECT":
            self._tunnel = True
            return Request(_authority(head.target, None))
        if "://" not in head.target:
            raise _malformed(400, "This is a proxy: set it as one, and ask for the URL itself.")
        parts = urlsplit(head.target)
        if parts.scheme.lower() != "http":
            raise _malformed(400, "Of URLs, this proxy takes those with http:// only.")
        target = _authority(parts.netloc.rpartition("@")[2], 80)
        upgrades = "upgrade" in [each.lower() for each in head.values("connection")]
        take = everything if upgrades else _body(head).take
        return Request(target, said=_origin_form(head, upgrades=upgrades), take=take)


def _parse(text: bytes) -> Head:
    first, *lines = text.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not all(words):
        raise _malformed(400, "This is no request of HTTP/1, nor of SOCKS.")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            raise _malformed(400, "A field of the request is malformed.")
        fields.append((name, value.strip(" \t")))
    method, target, version = words
    return Head(method, target, version, fields)


def _origin_form(head: Head, *, upgrades: bool) -> bytes:
    """The same request as its target is asked, RFC 9112 section 3.2."""
    authority, slash, rest = head.target.partition("://")[2].partition("/")
    host, query, more = authority.partition("?")
    path = f"/{query}{more}" if query else "/" + (rest if slash else "")
    listed = {each.lower() for each in head.values("connection")} - _FRAMING
    dropped = _FOR_US | listed | {"host"}
    kept = [field for field in head.fields if field[0].lower() not in dropped]
    ours = [("Host", host.rpartition("@")[2]), *kept, ("Via", _VIA)]
    if upgrades:
        ours += [("Connection", "Upgrade"), ("Upgrade", ", ".join(head.values("upgrade")))]
    else:
        ours += [("Connection", "close")]
    lines = [f"{head.method} {path.partition('#')[0]} HTTP/1.1", *(f"{n}: {v}" for n, v in ours)]
    return "\r\n".join(lines).encode("latin-1") + _END


def _body(head: Head) -> Body:
    """How the request's body ends, RFC 9112 section 6."""
    lengths = set(head.values("content-length"))
    coding = head.values("transfer-encoding")
    if len(lengths) > 1 or (lengths and coding) or not all(map(_is_number, lengths)):
        raise _malformed(400, "It is not clear where the body of the request ends.")
    if coding:
        if coding[-1].lower() != "chunked":
            raise _malformed(400, "The body of the request is in no chunks.")
        return Body.chunked()
    return Body.of_length(int(next(iter(lengths), "0")))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _authority(text: str, port: int | None) -> Target:
    """A host and its port, which only a URL may lack."""
    try:
        parts = urlsplit(f"//{text}")
        host = checked(parts.hostname or "")
        target = Target(host, parts.port or port or 0)
        target.encode()
    except ValueError:
        raise _malformed(400, "The request has no host and port that can be reached.") from None
    return target


def _malformed(status: int, why: str) -> Malformed:
    return Malformed(why, _answer(status, why))


def _answer(status: int, text: str) -> bytes:
    body = f"{text}\n".encode()
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Via": _VIA,
    }
    lines = [f"HTTP/1.1 {status} {_STATUS[status]}", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join(lines).encode() + _END + body
