from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.wire.target import Claim, Incoming, Port, Protocol, Target

ports = st.integers(1, 65535)
protocols = st.sampled_from(Protocol)
numbered = st.builds(Port, ports, protocols)
names = st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,60}[a-z0-9])?", fullmatch=True).filter(
    lambda name: not name.replace(".", "").isdigit()
)
hosts = st.one_of(st.ip_addresses().map(str), names)


@given(hosts, ports)
def test_target_survives_the_way(host: str, port: int) -> None:
    target = Target(host, port)

    assert Target.decode(target.encode()) == target


@pytest.mark.parametrize(
    ("target", "encoded"),
    [
        (Target("10.0.0.1", 80), "0050 04 0a000001"),
        (Target("fd00::1", 443), "01bb 06 fd000000000000000000000000000001"),
        (Target("web", 8080), "1f90 00 776562"),
    ],
)
def test_target_is_as_short_as_documented(target: Target, encoded: str) -> None:
    assert target.encode() == bytes.fromhex(encoded)


@pytest.mark.parametrize(
    "target",
    [
        Target("web", 0),
        Target("web", 65536),
        Target("", 80),
        Target("a" * 254, 80),
        Target("web server", 80),
        Target("fe80::1%eth0", 80),
        Target("bücher.example", 80),
        Target("web\n", 80),
    ],
)
def test_target_that_is_none_is_not_encoded(target: Target) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        target.encode()


@given(st.binary(max_size=40))
def test_target_decoding_raises_value_errors_only(data: bytes) -> None:
    try:
        target = Target.decode(data)
    except ValueError:
        return
    if data[2]:
        assert ipaddress.ip_address(target.host).packed == data[3:]
    else:
        assert target.host.encode() == data[3:]
    assert target.port == int.from_bytes(data[:2], "big") > 0


@given(numbered, st.booleans(), hosts, ports)
def test_claims_and_connections_survive_the_way(
    port: Port, copy: bool, host: str, number: int
) -> None:
    claim, incoming = Claim(port, copy), Incoming(port, Target(host, number))

    assert Claim.decode(claim.encode()) == claim
    assert Incoming.decode(incoming.encode()) == incoming
    assert Port.parse(str(port)) == port


@pytest.mark.parametrize("data", ["", "0050", "0050 06", "0050 05 00", "0000 06 00", "0050 06 02"])
def test_claim_that_is_malformed_is_not_decoded(data: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Claim.decode(bytes.fromhex(data))


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "80/", "80/SCTP", "80/TCP/TCP"])
def test_text_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Port.parse(text)
