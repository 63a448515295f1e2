"""Datagrams come out of a stream as they went in, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.wire import datagrams
from towline.wire.datagrams import MAX_DATAGRAM_BYTES, Decoder

DATAGRAMS = st.lists(st.binary(max_size=40), max_size=10)


@given(DATAGRAMS, st.lists(st.integers(0, 420)))
def test_datagrams_come_whole_and_in_order(said: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(datagrams.encode, said))
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    decoder = Decoder()
    heard: list[bytes] = []
    for begin, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        heard += decoder.receive(stream[begin:end])
        came = sum(len(each) + 2 for each in heard)
        assert came <= end  # nothing is made up, and nothing complete is kept back:
        left = stream[came:end]
        assert len(left) < 2 or len(left) - 2 < int.from_bytes(left[:2], "big")
    assert heard == said


@given(st.lists(st.binary()))
def test_any_bytes_are_some_datagrams(pieces: list[bytes]) -> None:
    decoder = Decoder()
    heard = [datagram for piece in pieces for datagram in decoder.receive(piece)]
    assert b"".join(pieces).startswith(b"".join(map(datagrams.encode, heard)))


def test_longest_passes_and_a_longer_one_does_not() -> None:
    longest = b"x" * MAX_DATAGRAM_BYTES
    assert Decoder().receive(datagrams.encode(longest)) == [longest]
    with pytest.raises(ValueError, match="65536 bytes"):
        datagrams.encode(longest + b"x")


def test_layout() -> None:
    assert datagrams.encode(b"abc") + datagrams.encode(b"") == b"\0\3abc\0\0"
