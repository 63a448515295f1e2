"""Names: values, text, and the wire form with its guards; dnspython is the oracle."""

import dns.exception
import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.wire.dns import DnsError, Name
from towline.wire.dns.names import plain_name, read_name, write_name

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, max_size=6).filter(lambda ls: sum(map(len, ls)) + len(ls) < 255).map(Name)


@settings(deadline=None)
@given(names)
def test_name_written_plain_is_what_the_oracle_writes(name):
    oracle = dns.name.Name((*name.labels, b""))

    assert plain_name(name) == oracle.to_wire()


@settings(deadline=None)
@given(names)
def test_text_of_a_name_reads_back_as_the_same_bytes(name):
    assert Name.of(str(name)).labels == name.labels


@settings(deadline=None)
@given(names)
def test_text_of_a_name_is_understood_by_the_oracle(name):
    assert dns.name.from_text(str(name)).labels == (*name.labels, b"")


@settings(deadline=None)
@given(st.lists(names, min_size=1, max_size=8))
def test_compressed_names_read_back_with_their_case(written):
    out, known = bytearray(b"twelve bytes"), {}
    for name in written:
        write_name(out, name, known)

    offset, read = 12, []
    for _ in written:
        name, offset = read_name(bytes(out), offset)
        read.append(name.labels)

    assert read == [name.labels for name in written]
    assert offset == len(out)


def test_a_shared_tail_is_written_once():
    out, known = bytearray(), {}
    write_name(out, Name.of("a.example.com"), known)
    before = len(out)
    write_name(out, Name.of("b.example.com"), known)

    assert bytes(out[before:]) == b"\1b" + (0xC000 | 2).to_bytes(2, "big")


def test_a_tail_beyond_the_reach_of_pointers_is_written_again():
    out, known = bytearray(0x4000), {}
    write_name(out, Name.of("example.com"), known)
    write_name(out, Name.of("example.com"), known)

    assert out.count(b"\7example\3com\0") == 2


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(0, 90))
def test_arbitrary_bytes_are_a_name_or_a_dns_error(data, offset):
    try:
        name, end = read_name(data, offset)
    except DnsError:
        return
    assert len(name) <= 255
    assert offset < end <= len(data)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_what_the_oracle_reads_is_read_alike(data):
    try:
        expected, used = dns.name.from_wire(data, 0)
    except dns.exception.DNSException:
        with pytest.raises(DnsError):
            read_name(data, 0)
        return
    name, end = read_name(data, 0)
    assert (*name.labels, b"") == expected.labels
    assert end == used


@pytest.mark.parametrize(
    "data",
    [
        b"\xc0\x00",  # to itself
        b"\1a\xc0\x00",  # to its own start
        b"\xc0\x02\xc0\x00",  # forward, and back
        b"\xc0",  # half a pointer
        b"\3ab",  # cut off
        b"\1a",  # without an end
        b"\x40ab\0",  # label types of RFC 6891 §4.2, which nobody uses
        b"\x80ab\0",
        b"",
        b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0",  # 257 bytes
    ],
)
def test_a_broken_name_is_refused(data):
    with pytest.raises(DnsError):
        read_name(data, 0)


def test_a_chain_of_pointers_longer_than_any_name_is_refused():
    data = bytearray(b"\0\0")
    for target in range(0, 400, 2):
        data += (0xC000 | target).to_bytes(2, "big")

    assert read_name(bytes(data), 2 * 100)[0] == Name()
    with pytest.raises(DnsError):
        read_name(bytes(data), 2 * 200)


def test_names_compare_without_case_and_keep_it():
    name = Name.of("WeB.Default")

    assert name == Name.of("web.default")
    assert hash(name) == hash(Name.of("web.default"))
    assert str(name) == "WeB.Default"
    assert name != Name.of("web")
    assert name != "web.default"


def test_case_of_bytes_beyond_ascii_is_told_apart():
    assert Name((b"\xc4",)) != Name((b"\xe4",))


def test_a_name_is_under_its_suffixes_only():
    name = Name.of("web.ns.svc.cluster.local")

    assert name.is_under(Name.of("SVC.cluster.local"))
    assert name.is_under(name)
    assert name.is_under(Name())
    assert not name.is_under(Name.of("s.svc.cluster.local"))
    assert not name.is_under(Name.of("x.web.ns.svc.cluster.local"))
    assert str(name.without(Name.of("cluster.local"))) == "web.ns.svc"
    with pytest.raises(DnsError):
        name.without(Name.of("corp.example"))


def test_last_labels_of_a_name():
    assert Name.of("a.b.c").last() == Name.of("c")
    assert Name.of("a.b.c").last(2) == Name.of("b.c")
    assert Name.of("a").last(3) == Name.of("a")
    assert Name().last() == Name()


def test_text_forms():
    assert str(Name.of(".")) == "."
    assert Name.of("web.") == Name.of("web")
    assert Name.of(r"a\.b\100\\").labels == (b"a.bd\\",)
    assert str(Name((b"a.b", b"\0\xff", b"_x-1"))) == r"a\.b.\000\255._x-1"


@pytest.mark.parametrize("text", ["a..b", ".a", "..", "a" * 64, "a." * 128, "a\\", r"\12", r"\256"])
def test_text_that_is_no_name_is_refused(text):
    with pytest.raises(DnsError):
        Name.of(text)
