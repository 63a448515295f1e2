from ipaddress import ip_network

import pytest

from towline.cluster.ranges import Network, is_within, merge, networks_of


def nets(*texts: str) -> list[Network]:
    return [ip_network(text) for text in texts]


def test_merge_joins_neighbours_and_puts_ipv4_first() -> None:
    assert merge(nets("fd00::/64", "10.0.1.0/24", "10.0.0.0/24")) == nets(
        "10.0.0.0/23", "fd00::/64"
    )


def test_what_is_no_network_is_none() -> None:
    assert networks_of(["10.0.0.7", "None", "", "fd00::/64"]) == set(nets("10.0.0.7", "fd00::/64"))


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("10.0.0.0/24", "10.0.0.0/16", True),
        ("10.0.0.0/16", "10.0.0.0/16", True),
        ("10.0.0.0/16", "10.0.0.0/24", False),
        ("10.1.0.0/24", "10.0.0.0/16", False),
        ("fd00::/64", "0.0.0.0/0", False),
    ],
)
def test_network_is_within_another(inner: str, outer: str, expected: bool) -> None:
    assert is_within(ip_network(inner), ip_network(outer)) is expected
