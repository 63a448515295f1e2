"""What the API server says of an address outside of the ranges of services."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cluster.servicerange import read

# Of Kubernetes 1.35 (ServiceCIDR objects), and of 1.28 (a bitmap for each range).
NEW = (
    'Service "towline-vt79l" is invalid: spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to '
    "allocate IP 192.0.2.1: the provided IP (192.0.2.1) is not in the valid range. The range of "
    "valid IPs is 10.96.0.0/16"
)
OLD = (
    'Service "towline-x" is invalid: spec.clusterIPs: Invalid value: []string{"2001:db8::1"}: '
    "failed to allocate IP 2001:db8::1: the provided IP (2001:db8::1) is not in the valid range. "
    "The range of valid IPs is fd00:10:96::/112"
)
ONE_FAMILY = (
    'Service "towline-x" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on '
    "this cluster"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [(NEW, ["10.96.0.0/16"]), (OLD, ["fd00:10:96::/112"]), (ONE_FAMILY, []), ("", [])],
)
def test_range_is_read_from_the_error(message: str, expected: list[str]) -> None:
    assert read(message) == set(map(ip_network, expected))


@given(st.text())
def test_any_words_are_read(text: str) -> None:
    read(text)
    read(f"The range of valid IPs is {text}")


@given(st.ip_addresses(), st.integers(0, 32))
def test_every_range_is_read(address: object, prefix: int) -> None:
    network = ip_network(f"{address}/{prefix}", strict=False)
    assert read(f"not in range. The range of valid IPs is {network}. Sorry") == {network}
