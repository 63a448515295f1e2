"""How a destination is written."""

from __future__ import annotations

import click
import pytest

from towline.cli.explain import Destination, Where
from towline.wire.target import Port, Protocol

DNS = Port(53, Protocol.UDP)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("web", Where("web")),
        ("web:80", Where("web", Port(80))),
        ("web:80/tcp", Where("web", Port(80))),
        ("dns.shop:53/udp", Where("dns.shop", DNS)),
        ("10.96.0.10:53/UDP", Where("10.96.0.10", DNS)),
        ("[fd00::a]:53/udp", Where("fd00::a", DNS)),
        ("fd00::a", Where("fd00::a")),
        ("http://web.shop/cart", Where("web.shop", Port(80))),
        ("https://web.shop:8443/cart", Where("web.shop", Port(8443))),
        ("redis://cache/0", Where("cache")),
    ],
)
def test_destination_is_a_host_with_or_without_a_port_or_a_url(text: str, where: Where) -> None:
    assert Destination().convert(text, None, None) == where


@pytest.mark.parametrize(
    "text", ["", "web:99999", "web:0", "two words", "http://", "web/udp", "web:53/sctp", "web:53/"]
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="HOST"):
        Destination().convert(text, None, None)
