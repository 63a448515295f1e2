"""SOCKS5 and SOCKS4 as clients speak them, whole or byte by byte."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.proxy.opening import dialect
from towline.proxy.request import Dialect, Malformed, Request
from towline.proxy.socks5 import Datagram
from towline.wire.frames import Reason
from towline.wire.target import Target

GREETING = b"\x05\x02\x00\x02"
BY_NAME = b"\x05\x01\x00\x03\x03web\x00\x50"
BY_IPV4 = b"\x05\x01\x00\x01\x0a\x01\x02\x03\x00\x50"
BY_IPV6 = b"\x05\x01\x00\x04" + ip_address("fd00::1").packed + b"\x00\x50"
SOCKS4 = b"\x04\x01\x00\x50\x0a\x01\x02\x03user\x00"
SOCKS4A = b"\x04\x01\x00\x50\x00\x00\x00\x01\x00web\x00"

hosts = st.one_of(
    st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9.-]{0,60}", fullmatch=True)
)
targets = st.builds(Target, hosts, st.integers(0, 65535))


def spoken(*said: bytes) -> tuple[Dialect, bytes]:
    """A conversation after what was said, and what was answered."""
    talk = dialect(said[0][0])
    assert talk is not None
    return talk, b"".join(talk.receive(each) for each in said)


@pytest.mark.parametrize(
    ("request_", "host"), [(BY_NAME, "web"), (BY_IPV4, "10.1.2.3"), (BY_IPV6, "fd00::1")]
)
def test_connection_is_asked_for_by_name_or_address(request_: bytes, host: str) -> None:
    talk, answer = spoken(GREETING, request_)
    assert answer == b"\x05\x00"
    assert talk.request == Request(Target(host, 80))
    assert talk.accepted(Target("127.0.0.1", 1)) == b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"


@pytest.mark.parametrize(("said", "host"), [(SOCKS4, "10.1.2.3"), (SOCKS4A, "web")])
def test_old_clients_are_understood(said: bytes, host: str) -> None:
    talk, answer = spoken(said + b"GET")
    assert (talk.request, talk.rest, answer) == (Request(Target(host, 80)), b"GET", b"")
    assert talk.accepted(Target("127.0.0.1", 1))[:2] == b"\x00\x5a"
    assert talk.refused(Reason.REFUSED, "")[:2] == b"\x00\x5b"


@pytest.mark.parametrize("said", [GREETING + BY_NAME, SOCKS4A, GREETING + BY_IPV6])
def test_it_does_not_matter_how_the_words_are_cut(said: bytes) -> None:
    whole, answer = spoken(said + b"more")
    parts, answers = spoken(*(bytes((each,)) for each in said), b"more")
    assert (whole.request, whole.rest, answer) == (parts.request, parts.rest, answers)
    assert whole.rest == b"more"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.REFUSED, 5),
        (Reason.HOST_UNREACHABLE, 4),
        (Reason.UNRESOLVED, 4),
        (Reason.NET_UNREACHABLE, 3),
        (Reason.TIMED_OUT, 6),
        (Reason.PROHIBITED, 2),
        (Reason.LINK_LOST, 1),
    ],
)
def test_refusal_says_the_true_cause(reason: Reason, code: int) -> None:
    talk, _ = spoken(GREETING, BY_NAME)
    assert talk.refused(reason, "")[:2] == bytes((5, code))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),  # a password only
        (GREETING + b"\x05\x02\x00\x01" + bytes(6), b"\x05\x07\x00"),  # BIND
        (GREETING + b"\x05\x01\x00\x02" + bytes(6), b"\x05\x08\x00"),  # no such address type
        (GREETING + b"\x05\x01\x00\x03\x03a b\x00\x50", b"\x05\x08\x00"),
        (GREETING + b"\x05\x01\x00\x03\x03web\x00\x00", b"\x05\x01\x00"),
        (GREETING + b"\x04\x01\x00\x01", b""),
        (b"\x04\x02\x00\x50" + bytes(5), b"\x00\x5b"),
        (b"\x04\x01\x00\x50\x0a\x01\x02\x03" + b"u" * 2000, b"\x00\x5b"),
    ],
)
def test_what_cannot_be_done_is_answered_as_the_protocol_has_it(said: bytes, answer: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        spoken(said)
    assert caught.value.answer.startswith(answer)
    assert bool(caught.value.answer) == bool(answer)


def test_association_is_asked_for_with_the_clients_address() -> None:
    talk, _ = spoken(GREETING, b"\x05\x03\x00\x01" + bytes(6))
    assert talk.request == Request(Target("0.0.0.0", 0), is_association=True)


@given(targets, st.binary(max_size=100))
def test_datagram_is_read_as_it_was_written(target: Target, data: bytes) -> None:
    assert Datagram.decode(Datagram(target, data).encode()) == Datagram(target, data)


@pytest.mark.parametrize(
    "packet", [b"", b"\0\0\0", b"\0\0\1\1" + bytes(6), b"\0\0\0\3\x09web", b"\0\0\0\7" + bytes(6)]
)
def test_fragments_and_parts_of_datagrams_are_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Datagram.decode(packet)


@given(st.sampled_from((b"\x04", b"\x05")), st.binary(max_size=300), st.integers(1, 50))
def test_anything_is_understood_or_malformed(version: bytes, more: bytes, step: int) -> None:
    said = version + more
    with suppress(Malformed):
        spoken(*(said[at : at + step] for at in range(0, len(said), step)))
    with suppress(ValueError):
        Datagram.decode(said)
