from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.redirect import strategies
from tests.unit.redirect.strategies import segment_of
from towline.redirect import messages
from towline.redirect.messages import InvalidRequest

ranges = st.lists(
    st.sampled_from(["10.96.0.0/12", "10.0.0.0/8", "172.16.0.0/12", "fd00::/112", "2001:db8::/32"]),
    max_size=8,
).map(lambda texts: tuple(map(ipaddress.ip_network, texts)))
domains = st.sampled_from(["~.", "~svc", "~cluster.local", "towline.internal", "a-b.c_d"])
addresses = strategies.ipv4_hosts | strategies.ipv6_hosts

requests = st.one_of(
    st.just(messages.Hello()),
    st.just(messages.Open()),
    st.just(messages.ShareTable()),
    st.builds(messages.AddRoutes, ranges),
    st.builds(messages.RemoveRoutes, ranges),
    st.builds(messages.RedirectTcp, strategies.ports),
    st.builds(messages.CaptureDns, st.lists(addresses, max_size=4).map(tuple), strategies.ports),
    st.builds(messages.SetLinkDns, st.lists(domains, max_size=4).map(tuple), strategies.ports),
    st.builds(messages.Forget, addresses, strategies.ports),
    st.builds(messages.UpstreamSocket, st.sampled_from([4, 6]), st.sampled_from(["udp", "tcp"])),
    strategies.syns.map(lambda case: messages.Admit(segment_of(case[0]))),
    st.builds(
        messages.Refuse,
        strategies.segments().map(lambda case: segment_of(case[0])),
        st.sampled_from(["reset", "net", "host", "prohibited"]),
    ),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
hostile_fields = st.fixed_dictionaries(
    {
        "do": st.sampled_from(
            [
                "AddRoutes",
                "RedirectTcp",
                "CaptureDns",
                "SetLinkDns",
                "Forget",
                "Refuse",
                "UpstreamSocket",
                "Admit",
                "RemoveRoutes",
            ]
        )
    },
    optional=dict.fromkeys(
        ("ranges", "port", "nameservers", "domains", "address", "answer", "version", "transport"),
        json_values,
    ),
)


def message(do, packet=b"", **fields):
    return messages.frame({"do": do, **fields}, packet)


@given(requests)
def test_parse_gives_back_what_encode_took(request_):
    assert messages.parse(messages.encode(request_)) == request_


@given(st.binary(max_size=200))
def test_parse_of_any_bytes_is_refused_in_order(data):
    with pytest.raises(InvalidRequest):
        messages.parse(data)


@given(hostile_fields, st.binary(max_size=60))
def test_parse_of_any_fields_gives_a_request_or_refuses(fields, packet):
    try:
        messages.parse(json.dumps(fields).encode() + b"\n" + packet)
    except InvalidRequest:
        return


@given(
    st.one_of(
        st.builds(
            lambda address, length: ipaddress.ip_network((address, length), strict=False),
            st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
            st.integers(0, 32),
        ),
        st.builds(
            lambda address, length: ipaddress.ip_network((address, length), strict=False),
            st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
            st.integers(0, 128),
        ),
    )
)
def test_check_range_lets_nothing_through_that_this_machine_needs(network):
    try:
        messages.check_range(network)
    except InvalidRequest:
        return
    first, last = network[0], network[-1]
    for each in (first, last):
        assert not each.is_loopback
        assert not each.is_link_local
        assert not each.is_multicast
        assert not each.is_unspecified
        assert str(each) != "255.255.255.255"
    assert network.num_addresses <= 2 ** (25 if network.version == 4 else 112)


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0/0", "127.0.0.0/8", "127.0.0.53/32", "169.254.0.0/16", "169.254.169.254/32",
     "224.0.0.0/4", "255.255.255.255/32", "254.0.0.0/7", "0.0.0.0/1", "::/0", "::1/128",
     "fe80::/64", "ff02::/16", "::ffff:0:0/96", "2000::/3"],
)  # fmt: skip
def test_parse_refuses_ranges_that_are_not_a_clusters(text):
    with pytest.raises(InvalidRequest):
        messages.parse(message("AddRoutes", ranges=[text]))


@pytest.mark.parametrize("text", ["240.0.0.0/8", "240.10.0.0/20", "100.64.0.0/10", "fc00::/18"])
def test_parse_takes_ranges_that_clusters_use(text):
    network = ipaddress.ip_network(text)
    assert messages.parse(message("AddRoutes", ranges=[text])) == messages.AddRoutes((network,))


@pytest.mark.parametrize(
    "text", ["10.96.0.1/12", "10.96.0.0/33", "10.96", "", "web", "10.96.0.0/x"]
)
def test_parse_refuses_what_is_no_range(text):
    with pytest.raises(InvalidRequest):
        messages.parse(message("AddRoutes", ranges=[text]))


@pytest.mark.parametrize("port", [0, -1, 65536, True, 1.0, "80", None, [80]])
def test_parse_refuses_what_is_no_port(port):
    with pytest.raises(InvalidRequest):
        messages.parse(message("RedirectTcp", port=port))


@pytest.mark.parametrize(
    "address", ["fe80::1%eth0", "224.0.0.251", "0.0.0.0", "::", "ff02::fb", "dns", "1; drop", 1]
)
def test_parse_refuses_nameservers_that_are_no_hosts(address):
    with pytest.raises(InvalidRequest):
        messages.parse(message("CaptureDns", nameservers=[address], port=53))


@pytest.mark.parametrize("address", ["127.0.0.53", "::1", "192.168.1.1", "fd00::53"])
def test_parse_takes_nameservers_on_this_machine_and_elsewhere(address):
    request_ = messages.parse(message("CaptureDns", nameservers=[address], port=53))
    assert request_ == messages.CaptureDns((ipaddress.ip_address(address),), 53)


def test_parse_refuses_more_ranges_than_the_limit():
    with pytest.raises(InvalidRequest):
        messages.parse(message("AddRoutes", ranges=["10.0.0.0/8"] * (messages.MAX_RANGES + 1)))


@given(strategies.segments(flags=st.integers(0, 255).filter(lambda flags: flags & 0x16 != 0x02)))
def test_parse_refuses_to_admit_what_is_no_syn(case):
    with pytest.raises(InvalidRequest):
        messages.parse(message("Admit", case[0]))


@given(st.recursive(st.just("x"), lambda inner: inner.map(lambda text: f"[{text}]"), max_leaves=3))
def test_parse_refuses_json_that_is_no_object(text):
    with pytest.raises(InvalidRequest):
        messages.parse(text.encode() + b"\n")


def test_parse_refuses_endless_nesting():
    with pytest.raises(InvalidRequest):
        messages.parse(b"[" * 60000 + b"\n")


def test_frame_refuses_what_is_too_long_for_one_message():
    with pytest.raises(InvalidRequest):
        messages.frame({}, bytes(messages.MAX_MESSAGE_BYTES))


@pytest.mark.parametrize(
    "domain",
    ["", ".", "~", "-h", "--version", "a..b", "a.", "a b", "a\n", "~~a", "-a.b", "a" * 256],
)
def test_what_is_no_domain_never_comes_to_resolvectl(domain):
    with pytest.raises(InvalidRequest):
        messages.parse(message("SetLinkDns", domains=[domain], port=53))


def test_domains_are_few():
    with pytest.raises(InvalidRequest):
        messages.parse(message("SetLinkDns", domains=["~."] * 65, port=53))
