"""HTTP/1 as a proxy is spoken to (RFC 9110, RFC 9112): CONNECT, and requests for http:// URLs.

h11 knows where requests, answers and their bodies end; here is what a proxy makes of them. A client
may ask for one thing after another. Each request has a connection to its target for itself: none is
lost because one that was kept open has just been closed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

import h11

from towline.proxy.request import Malformed
from towline.proxy.socks5 import checked
from towline.wire.frames import Reason
from towline.wire.target import Target

CONNECT = b"CONNECT"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_LONGEST_HEAD = 64 * 1024
# Section 7.6.1 of RFC 9110, with what is between a client and a proxy only.
_FOR_ONE_HOP = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"te", b"upgrade", b"proxy-authorization")
)
_LENGTHS = frozenset((b"transfer-encoding", b"content-length"))
# Clients that prefer HTTP/2, such as Java's, ask for it with each request, and get by without.
_NOT_OFFERED = b"h2c"
# What a request may ask of each on its way, which says how many that may be (section 7.6.2).
_FOR_SOME_HOPS = frozenset((b"OPTIONS", b"TRACE"))
_MOST_HOPS = 1000
# What is not to be seen in the answer to TRACE (section 9.3.8).
_SECRET = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
_STATUS = {
    200: "OK",
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_STATUS_OF = {Reason.TIMED_OUT: 504, Reason.LINK_LOST: 503, Reason.GOING_AWAY: 503}

Fields = list[tuple[bytes, bytes]]


def client_connection() -> h11.Connection:
    """What a client says on its connection to the proxy, and is answered."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)


def next_request(here: h11.Connection) -> h11.Request | bool:
    """The request that has come; else whether one can still come. Raises Malformed."""
    try:
        event = here.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        raise malformed(f"This is no request of HTTP/1, nor of SOCKS: {error}.", status) from None
    return event if isinstance(event, h11.Request) else event is h11.NEED_DATA


def own_answer(request: h11.Request) -> bytes:
    """What a client is told that asks this proxy itself; b"" when that is the target's to say."""
    if _hops(request) != 0:
        return b""
    if request.method == b"OPTIONS":
        return _answer(200, "This proxy passes on requests for http:// URLs, and makes tunnels.")
    fields = [field for field in request.headers.raw_items() if field[0].lower() not in _SECRET]
    lines = [b" ".join((request.method, request.target, b"HTTP/" + request.http_version))]
    lines += [b": ".join(field) for field in fields]
    return _whole(200, b"\r\n".join(lines) + b"\r\n\r\n", "message/http")


def target_of(request: h11.Request) -> Target:
    """Where a request is to go. Raises Malformed."""
    if request.method == CONNECT:
        return _authority(request.target.decode("ascii"), None)
    parts = _url(request)
    return _authority(parts.netloc.rpartition("@")[2], 80)


def rest(here: h11.Connection) -> bytes:
    """What a client has said behind its request for a tunnel."""
    here.next_event()  # the end of that request
    return here.trailing_data[0]


def refusal(target: Target, reason: Reason, why: str) -> bytes:
    """What a client is told when there is no connection to a target."""
    where = f"{target.host}, port {target.port}"
    return _answer(_STATUS_OF.get(reason, 502), f"tow cannot reach {where}: {why}.")


def bad_answer(target: Target) -> bytes:
    """What a client is told when what the target says is no answer."""
    return _answer(502, f"{target.host}, port {target.port}, does not answer as HTTP/1 has it.")


def malformed(why: str, status: int = 400) -> Malformed:
    """A client is wrong."""
    return Malformed(why, _answer(status, why))


def fit(answer: bytes, request: h11.Request) -> bytes:
    """As much of a whole answer as may follow such a request (RFC 9110 section 9.3.2)."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    return head + end if request.method == b"HEAD" else answer


class Exchange:
    """One request that is passed on and its answer, on the client's connection `here`.

    `begin` is what the target is told at first. Bodies are passed on as they come.
    """

    def __init__(self, here: h11.Connection, request: h11.Request) -> None:
        self._here = here
        self._there = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self._in_chunks = _has(request, b"transfer-encoding")
        self._client_version = request.http_version
        self.may_switch = bool(_switching(request))
        """Whether the client would speak another protocol."""
        self.begin = self._say(self._there, _passed_on(request))
        self.is_said = False
        """Whether the target has been told all of the request."""
        self.is_over = False
        """Whether the client has all of the answer."""
        self.is_switched = False
        """Whether both speak another protocol from now on (section 7.8), and the answer is over."""

    @property
    def is_answered(self) -> bool:
        """Whether the client has anything of the answer."""
        return self._here.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    def ask(self) -> bytes:
        """What the target is to be told, of what has come from the client. Raises Malformed."""
        return b"".join(self._asked())

    def answer(self, data: bytes) -> bytes:
        """What the client is to be told when the target says this, b"" for that it ends.

        Raises h11.ProtocolError when that is no answer, or not all of it.
        """
        self._there.receive_data(data)
        return b"".join(self._answered())

    def rest(self) -> tuple[bytes, bytes]:
        """What client and target have said already in the other protocol."""
        return self._here.trailing_data[0], self._there.trailing_data[0]

    def _asked(self) -> Iterator[bytes]:
        while not self.is_said:
            try:
                event = self._here.next_event()
            except h11.RemoteProtocolError as error:
                raise malformed(f"The body of the request is malformed: {error}.") from None
            if isinstance(event, h11.Data):
                yield self._say(self._there, h11.Data(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.is_said = True
                yield self._say(self._there, event if self._in_chunks else h11.EndOfMessage())
            else:
                return

    def _answered(self) -> Iterator[bytes]:
        while not (self.is_over or self.is_switched):
            event = self._there.next_event()
            if isinstance(event, h11.InformationalResponse):
                # Section 15.2: whoever speaks an older version does not know of them.
                if self._client_version >= b"1.1":
                    yield self._say(self._here, self._passed_back(event))
                self.is_switched = event.status_code == 101
            elif isinstance(event, h11.Response):
                self._answer_in_chunks = not _has(event, b"content-length")
                yield self._say(self._here, self._passed_back(event))
            elif isinstance(event, h11.Data):
                yield self._say(self._here, h11.Data(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.is_over = True
                trailer = self._answer_in_chunks and self._client_version >= b"1.1"
                yield self._say(self._here, event if trailer else h11.EndOfMessage())
            else:
                return

    @staticmethod
    def _say(connection: h11.Connection, event: h11.Event) -> bytes:
        return connection.send(event) or b""

    def _passed_back(self, answer: h11.Response | h11.InformationalResponse) -> h11.Event:
        fields = _kept(answer)
        if _has(answer, b"transfer-encoding"):
            # h11 says how the body is framed here; a length beside that is none.
            fields = [each for each in fields if each[0].lower() not in _LENGTHS]
        if answer.status_code == 101:
            fields += _switching(answer)
        fields.append((b"Via", answer.http_version + b" tow"))
        kind: Callable[..., h11.Event] = type(answer)
        return kind(status_code=answer.status_code, reason=answer.reason, headers=fields)


def _passed_on(request: h11.Request) -> h11.Request:
    """The same request as its target is asked, RFC 9112 section 3.2."""
    parts = _url(request)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if not parts.path.startswith("/"):
        # Section 3.2.4: without a path, OPTIONS asks about the server itself.
        path = "*" if request.method == b"OPTIONS" and not path else f"/{path}"
    switching = _switching(request)
    hops = _hops(request)
    fields = [
        (b"Host", parts.netloc.rpartition("@")[2].encode("ascii")),
        *(_counted(field, hops) for field in _kept(request) if field[0].lower() != b"host"),
        (b"Via", request.http_version + b" tow"),
        *(switching or [(b"Connection", b"close")]),
    ]
    return h11.Request(method=request.method, target=path, headers=fields)


def _hops(request: h11.Request) -> int | None:
    """How often a request may be passed on; None if it does not say."""
    said = [value for name, value in request.headers if name == b"max-forwards"]
    if request.method not in _FOR_SOME_HOPS or not said or not said[0].isdigit():
        return None
    digits = said[0].lstrip(b"0")
    return int(digits or b"0") if len(digits) < len(str(_MOST_HOPS)) else _MOST_HOPS


def _counted(field: tuple[bytes, bytes], hops: int | None) -> tuple[bytes, bytes]:
    if hops is None or field[0].lower() != b"max-forwards":
        return field
    return field[0], b"%d" % (hops - 1)


Message = h11.Request | h11.Response | h11.InformationalResponse


def _kept(message: Message) -> Fields:
    """The fields that are not for this hop alone."""
    listed = set(_words(message, b"connection")) - _LENGTHS
    dropped = _FOR_ONE_HOP | listed
    return [field for field in message.headers.raw_items() if field[0].lower() not in dropped]


def _switching(message: Message) -> Fields:
    """The fields that offer, or agree on, another protocol."""
    if b"upgrade" not in _words(message, b"connection") or message.http_version < b"1.1":
        return []
    offered = [word for word in _words(message, b"upgrade") if word != _NOT_OFFERED]
    return [(b"Connection", b"Upgrade"), (b"Upgrade", b", ".join(offered))] if offered else []


def _words(message: Message, name: bytes) -> list[bytes]:
    """What a field lists, in small letters."""
    values = (value for field, value in message.headers if field == name)
    return [word.strip().lower() for value in values for word in value.split(b",") if word.strip()]


def _has(message: Message, name: bytes) -> bool:
    return any(field == name for field, _ in message.headers)


def _url(request: h11.Request) -> SplitResult:
    try:
        parts = urlsplit(request.target.decode("ascii"))
    except ValueError:
        raise malformed("The request has no URL that can be read.") from None
    if not parts.scheme or "://" not in request.target.decode("ascii"):
        raise malformed("This is a proxy: set it as one, and ask for the URL itself.")
    if parts.scheme != "http":
        raise malformed("Of URLs, this proxy takes those with http:// only.")
    if _has(request, b"content-length") and _has(request, b"transfer-encoding"):
        raise malformed("It is not clear where the body of the request ends.")
    return parts


def _authority(text: str, port: int | None) -> Target:
    """A host and its port, which only a URL may lack."""
    try:
        parts = urlsplit(f"//{text}")
        host = checked(parts.hostname or "")
        target = Target(host, parts.port or port or 0)
        target.encode()
    except ValueError:
        raise malformed("The request has no host and port that can be reached.") from None
    return target


def _answer(status: int, text: str) -> bytes:
    return _whole(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


def _whole(status: int, body: bytes, kind: str) -> bytes:
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Via": "1.1 tow",
    }
    reason = _STATUS.get(status, _STATUS[400])
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
