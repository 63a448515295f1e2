"""Messages: round trips against dnspython, truncation, and bytes from anywhere."""

from dataclasses import replace

import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.wire.dns import (
    QR,
    TC,
    DnsError,
    Edns,
    Message,
    Name,
    Question,
    Rcode,
    Record,
    Type,
    read_header,
    read_questions,
)

_label = st.text("abcXYZ019_-", min_size=1, max_size=10)
_host = st.lists(_label, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + ".")
_suffix = st.sampled_from(["cluster.local.", "svc.cluster.local.", "Example.COM."])
_name = st.one_of(_host, st.tuples(_label, _suffix).map(".".join), _suffix)
_u16 = st.integers(0, 0xFFFF)
_u32 = st.integers(0, 0x7FFFFFFF)


def _text(rtype, *parts):
    return st.tuples(*parts).map(lambda values: (rtype, " ".join(map(str, values))))


_rdata = st.one_of(
    _text("A", st.ip_addresses(v=4)),
    _text("AAAA", st.ip_addresses(v=6)),
    _text("CNAME", _name),
    _text("NS", _name),
    _text("PTR", _name),
    _text("DNAME", _name),
    _text("MX", _u16, _name),
    _text("AFSDB", _u16, _name),
    _text("RP", _name, _name),
    _text("PX", _u16, _name, _name),
    _text("SRV", _u16, _u16, _u16, _name),
    _text("SOA", _name, _name, _u32, _u32, _u32, _u32, _u32),
    _text("NAPTR", _u16, _u16, st.just('"S" "SIP+D2U" "!^.*$!sip:a@b.c!"'), _name),
    _text("TXT", st.binary(max_size=40).map(lambda b: '"' + "".join(f"\\{x:03}" for x in b) + '"')),
    _text("TYPE65280", st.binary(max_size=40).map(lambda b: f"\\# {len(b)} {b.hex()}")),
)


@st.composite
def _records(draw):
    rtype, text = draw(_rdata)
    rdata = dns.rdata.from_text("IN", rtype, text)
    rrset = dns.rrset.RRset(dns.name.from_text(draw(_name)), rdata.rdclass, rdata.rdtype)
    rrset.add(rdata, draw(_u32))
    return rrset


@st.composite
def oracle_messages(draw):
    """A message of dnspython's with sections that do not share record sets."""
    message = dns.message.make_query(
        draw(_name),
        draw(st.sampled_from(["A", "AAAA", "SRV", "PTR", "TXT", "ANY"])),
        id=draw(_u16),
        use_edns=draw(st.sampled_from([False, 0])),
        want_dnssec=False,
        payload=draw(st.sampled_from([512, 1232, 4096])),
    )
    message.flags = draw(st.sampled_from([0x0100, 0x8180, 0x8400, 0x8583]))
    for section in (message.answer, message.authority, message.additional):
        for rrset in draw(st.lists(_records(), max_size=4)):
            if not any(rrset.match(o.name, o.rdclass, o.rdtype, o.covers) for o in section):
                section.append(rrset)
    return message


def wire_of(message):
    return message.to_wire(max_size=65535)


@settings(deadline=None, max_examples=60)
@given(oracle_messages())
def test_message_of_the_oracle_written_again_is_the_same_to_it(original):
    ours = Message.parse(wire_of(original))

    again = dns.message.from_wire(ours.encode())

    assert again == original
    assert again.flags == original.flags
    assert (again.edns, again.payload) == (original.edns, original.payload)


@settings(deadline=None, max_examples=60)
@given(oracle_messages())
def test_message_parsed_says_what_the_oracle_says(original):
    ours = Message.parse(wire_of(original))

    assert ours.id == original.id
    assert ours.rcode == original.rcode()
    assert ours.is_response == bool(original.flags & dns.flags.QR)
    for records, rrsets in [
        (ours.answers, original.answer),
        (ours.authorities, original.authority),
        (tuple(r for r in ours.additionals if r.rtype != Type.OPT), original.additional),
    ]:
        expected = [
            (rrset.name.labels[:-1], rrset.rdtype, rrset.ttl, rdata.to_wire())
            for rrset in rrsets
            for rdata in rrset
        ]
        assert [(r.name.labels, r.rtype, r.ttl, r.rdata) for r in records] == expected


@settings(deadline=None, max_examples=60)
@given(oracle_messages(), st.integers(512, 1500))
def test_message_cut_to_a_size_fits_and_is_a_message(original, limit):
    ours = Message.parse(wire_of(original))

    data = ours.encode(limit)

    assert len(data) <= limit
    cut = Message.parse(data)
    assert cut.questions == ours.questions
    assert cut.edns == ours.edns
    assert cut.answers == ours.answers[: len(cut.answers)]
    whole = cut.answers == ours.answers and cut.authorities == ours.authorities
    assert cut.is_truncated == (not whole or ours.is_truncated)


@settings(deadline=None, max_examples=60)
@given(oracle_messages(), st.data())
def test_damaged_message_is_a_message_or_a_dns_error(original, data):
    wire = bytearray(wire_of(original))
    for _ in range(data.draw(st.integers(1, 8))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    _check(bytes(wire[: data.draw(st.integers(0, len(wire)))]))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_dns_error(data):
    _check(data)


def _check(data):
    """What parses must survive being written and read again."""
    try:
        message = Message.parse(data)
    except DnsError:
        return
    again = Message.parse(message.encode())
    assert (again.id, again.flags, again.questions) == (
        message.id,
        message.flags,
        message.questions,
    )
    assert (again.answers, again.authorities) == (message.answers, message.authorities)
    assert (again.edns, again.rcode) == (message.edns, message.rcode)
    others = [r for r in message.additionals if r.rtype != Type.OPT]
    assert [r for r in again.additionals if r.rtype != Type.OPT] == others


WEB = Name.of("web.default.svc.cluster.local")


def _answer(count, *, edns=None, extra=0):
    return Message(
        7,
        QR,
        (Question(WEB, Type.A),),
        tuple(Record(WEB, Type.A, 1, 30, bytes([10, 0, 0, n % 256])) for n in range(count)),
        additionals=(
            *(Record(WEB, Type.TXT, 1, 30, b"\3abc") for _ in range(extra)),
            *(() if edns is None else (edns.record(),)),
        ),
    )


def test_records_are_sixteen_bytes_when_their_owner_was_named_before():
    assert len(_answer(30).encode()) == len(_answer(0).encode()) + 30 * 16


def test_truncation_keeps_the_first_answers_and_edns_and_sets_tc():
    cut = Message.parse(_answer(100, edns=Edns(4096, dnssec_ok=True)).encode(512))

    assert cut.flags & TC
    assert cut.answers == _answer(100).answers[: len(cut.answers)]
    assert len(cut.answers) > 20
    assert cut.edns == Edns(4096, dnssec_ok=True)


def test_leaving_out_additional_records_alone_is_no_truncation():
    cut = Message.parse(_answer(20, extra=40).encode(512))

    assert not cut.is_truncated
    assert len(cut.answers) == 20
    assert 0 < len(cut.additionals) < 40


def test_names_in_rdata_are_freed_of_pointers_when_a_message_is_moved():
    original = dns.message.make_response(dns.message.make_query("alias.default", "A"))
    alias = dns.rrset.from_text("alias.default.", 5, "IN", "CNAME", "web.default.")
    original.answer.append(alias)
    ours = Message.parse(wire_of(original))

    moved = ours.renamed(Name.of("alias.default"), Name.of("much.longer.than.before")).encode()

    answer = dns.message.from_wire(moved).answer[0]
    assert answer.to_text() == "much.longer.than.before. 5 IN CNAME web.default."


def test_rename_leaves_other_owners_alone():
    cname = Record(Name.of("ALIAS.x"), Type.CNAME, 1, 5, b"\3web\1x\0")
    a = Record(Name.of("web.x"), Type.A, 1, 5, b"\1\2\3\4")
    message = Message(1, QR, (Question(Name.of("alias.x"), 1),), (cname, a))

    renamed = message.renamed(Name.of("alias.x"), Name.of("alias"))

    assert [str(record.name) for record in renamed.answers] == ["alias", "web.x"]
    assert str(renamed.questions[0].name) == "alias"


def test_two_opt_records_are_refused():
    opt = Edns(512).record()
    data = Message(1, additionals=(opt, opt)).encode()

    with pytest.raises(DnsError):
        Message.parse(data)


def test_opt_record_of_another_name_than_the_root_is_refused():
    opt = Edns(512).record()
    data = Message(1, additionals=(replace(opt, name=WEB),)).encode()

    with pytest.raises(DnsError):
        Message.parse(data)


def test_edns_extends_the_response_code_and_the_udp_size():
    message = Message(1, QR, additionals=(Edns(1400, rcode_high=1).record(),))

    assert message.rcode == Rcode.BADVERS
    assert message.udp_limit == 1400
    assert Message(1).udp_limit == 512
    assert Message(1, additionals=(Edns(100).record(),)).udp_limit == 512


def test_edns_fields_are_read_as_the_oracle_writes_them():
    query = dns.message.make_query("a.", "A", want_dnssec=True, payload=1400)

    assert Message.parse(query.to_wire()).edns == Edns(1400, dnssec_ok=True)


def test_unknown_class_and_empty_rdata_pass():
    deletion = Record(WEB, Type.MX, 255, 0, b"")  # RFC 2136 §2.4.1
    message = Message(1, 5 << 11, (Question(WEB, 6),), (deletion,))

    assert Message.parse(message.encode()) == message
    assert message.opcode == 5


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        (Type.CNAME, b"\1a\0x"),
        (Type.MX, b"\0"),
        (Type.SOA, b"\0\0" + b"\0" * 19),
        (35, b"\0\0\0\0\xff"),
        (35, b"\0\0\0\0"),
    ],
)
def test_rdata_that_does_not_fit_its_length_is_refused(rtype, rdata):
    data = Message(1, QR, answers=(Record(WEB, rtype, 1, 5, rdata),)).encode()

    with pytest.raises(DnsError):
        Message.parse(data)


@pytest.mark.parametrize("rtype", [Type.CNAME, 30])  # NXT: a name and a tail of any length
def test_a_name_in_rdata_must_not_run_into_the_next_record(rtype):
    long = Record(WEB, 0xFF00, 1, 5, b"\3abc")
    follower = Record(Name(), 0xFF00, 1, 5, b"")
    data = bytearray(Message(1, QR, answers=(long, follower)).encode())
    at = data.index((0xFF00).to_bytes(2, "big"))
    data[at : at + 2] = int(rtype).to_bytes(2, "big")

    with pytest.raises(DnsError):
        Message.parse(bytes(data))


def test_questions_longer_than_any_message_are_refused():
    names = [Name((bytes([65 + n // 26, 65 + n % 26]) + b"x" * 61,) * 3) for n in range(400)]

    with pytest.raises(DnsError):
        Message(1, questions=tuple(Question(name, 1) for name in names)).encode()


def test_header_and_questions_are_read_without_the_records():
    data = _answer(3).encode()[:-5]

    assert read_header(data) == (7, QR, 1, 3, 0, 0)
    assert read_questions(data) == (Question(WEB, Type.A),)
    with pytest.raises(DnsError):
        read_header(data[:11])
    with pytest.raises(DnsError):
        read_questions(data[:20])
