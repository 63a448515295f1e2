"""What `--expose` means, and whether a program listens there."""

from __future__ import annotations

import socket

import pytest

from towline.errors import UsageError
from towline.features.local import expose, udpports
from towline.features.local.expose import Exposed
from towline.wire.target import Port, Protocol, Target


@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        ("8080", Exposed(Port(8080), Target("localhost", 8080))),
        ("8080:80", Exposed(Port(80), Target("localhost", 8080))),
        ("8080:80/tcp", Exposed(Port(80), Target("localhost", 8080))),
        ("53/udp", Exposed(Port(53, Protocol.UDP), Target("localhost", 53))),
        ("5353:53/UDP", Exposed(Port(53, Protocol.UDP), Target("localhost", 5353))),
        ("box:5353:53/udp", Exposed(Port(53, Protocol.UDP), Target("box", 5353))),
    ],
)
def test_what_is_exposed(text: str, exposed: Exposed) -> None:
    assert expose.parse([text]) == (exposed,)


def test_several_ports_also_the_same_of_another_protocol() -> None:
    found = expose.parse(["5353:53/udp,5353:53", "80"])
    assert [str(each.remote) for each in found] == ["53/UDP", "53/TCP", "80/TCP"]


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "70000", "80:81:82:83", "80/", "80/sctp", "80/udp:80", "1:2,3:2", "1/udp,1/udp"],
)
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        expose.parse([text])


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
@pytest.mark.parametrize("everywhere", [False, True])
async def test_bound_udp_port_is_served(
    family: socket.AddressFamily, address: str, everywhere: bool
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as program:
        if family == socket.AF_INET6:
            program.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        program.bind(("" if everywhere else address, 0))
        port = program.getsockname()[1]
        assert udpports.loopbacks(port) == [address]
        (exposed,) = expose.parse([f"{port}/udp"])
        assert await exposed.is_served()
        program.connect((address, 9))
        assert not await exposed.is_served()
    assert not await exposed.is_served()
