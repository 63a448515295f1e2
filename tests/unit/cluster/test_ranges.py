from ipaddress import ip_network

from towline.cluster.ranges import Network, merge


def nets(*texts: str) -> list[Network]:
    return [ip_network(text) for text in texts]


def test_merge_joins_neighbours_and_puts_ipv4_first() -> None:
    assert merge(nets("fd00::/64", "10.0.1.0/24", "10.0.0.0/24")) == nets(
        "10.0.0.0/23", "fd00::/64"
    )
