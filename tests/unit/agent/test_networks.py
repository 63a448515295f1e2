"""The networks of a pod, as the kernel's own tables have them."""

from pathlib import Path

import pytest

from towline.agent.networks import networks_of

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
# A CNI of bridges: 10.244.0.0/24 on the wire, a gateway in it.
BRIDGE4 = (
    HEAD + "eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
)
NONE = "0" * 32


def ipv6_route(to, length, gateway=NONE):
    return f"{to:0<32} {length} {NONE} 00 {gateway} 00000100 00000002 00000000 00000001 eth0\n"


BRIDGE6 = (
    ipv6_route("fd00001002440000", "40")
    + ipv6_route("fe80", "40")
    + ipv6_route("", "00", "fd000010024400000000000000000001")
    + ipv6_route("fd000010024400000000000000000006", "80")
)
# Calico: a pod alone, behind a router that is nobody's.
ALONE4 = (
    HEAD + "eth0\t00000000\t0101FEA9\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0101FEA9\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "addresses", "expected"),
    [
        (BRIDGE4, BRIDGE6, ["10.244.0.6"], ["10.244.0.0/24"]),
        (BRIDGE4, BRIDGE6, ["fd00:10:244::6"], ["fd00:10:244::/64"]),
        (BRIDGE4, BRIDGE6, ["10.9.0.1"], ["10.9.0.1/32"]),
        (ALONE4, "", ["10.1.2.3", "fd00::5"], ["10.1.2.3/32", "fd00::5/128"]),
        ("", "", [], []),
    ],
)
def test_network_of_an_address_is_the_one_on_its_interface(
    tmp_path: Path, ipv4: str, ipv6: str, addresses: list[str], expected: list[str]
) -> None:
    (tmp_path / "v4").write_text(ipv4)
    (tmp_path / "v6").write_text(ipv6)
    assert networks_of(addresses, str(tmp_path / "v4"), str(tmp_path / "v6")) == expected


def test_pod_without_tables_has_its_addresses(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert networks_of(["10.1.2.3"], none, none) == ["10.1.2.3/32"]
