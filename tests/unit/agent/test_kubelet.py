from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.agent.kubelet import HEAD_BYTES, Kubelet, gateways, is_request, parse_probed

NODE, CLIENT = ip_address("10.244.0.1"), ip_address("10.244.1.9")
PROBE = b"GET /healthz HTTP/1.1\r\nHost: 10.1.1.1:80\r\nUser-Agent: kube-probe/1.35\r\n"
BROWSER = b"GET / HTTP/1.1\r\nHost: web\r\nUser-Agent: Mozilla/5.0 kube-probe/1\r\n"

ROUTES4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t00000000\t00000000\t0003\t0\t0\t0\t00000080\t0\t0\t0
"""
NO_ADDRESS = "0" * 32
ROUTES6 = f"""\
{NO_ADDRESS} 00 {NO_ADDRESS} 00 fd000010024400000000000000000001 00000400 01 0 00000003 eth0
fd000010024400000000000000000000 40 {NO_ADDRESS} 00 {NO_ADDRESS} 00000100 01 0 00000001 eth0
{NO_ADDRESS} 00 {NO_ADDRESS} 00 {NO_ADDRESS} ffffffff 01 0 00200200 lo
"""


def test_only_default_routers_are_gateways(tmp_path: Path) -> None:
    (tmp_path / "4").write_text(ROUTES4)
    (tmp_path / "6").write_text(ROUTES6)
    found = gateways(str(tmp_path / "4"), str(tmp_path / "6"))
    assert found == {ip_address("10.244.0.1"), ip_address("fd00:10:244::1")}


def test_pod_without_ipv6_has_no_routes_of_it(tmp_path: Path) -> None:
    (tmp_path / "4").write_text(ROUTES4)
    assert gateways(str(tmp_path / "4"), str(tmp_path / "6")) == {ip_address("10.244.0.1")}


@pytest.mark.parametrize("agent", [b"kube-probe/1.35", b"kube-lifecycle/1.30"])
@pytest.mark.parametrize("name", [b"User-Agent", b"user-agent"])
def test_request_of_a_kubelet_is_told_by_its_header(name: bytes, agent: bytes) -> None:
    assert is_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": " + agent + b"\r\n") is True


@pytest.mark.parametrize(
    "head",
    [
        BROWSER,
        b"GET / HTTP/1.1\r\nHost: web\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: kube-probe/1\r\n\r\nUser-Agent: kube-probe/1\r\n",
        b"POST /",
        b"\x16\x03",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nHost: ".ljust(HEAD_BYTES, b"x"),
    ],
)
def test_what_others_say_is_not(head: bytes) -> None:
    assert is_request(head) is False


@given(st.integers(0, len(PROBE) - 1))
def test_request_that_has_come_in_part_is_waited_for(size: int) -> None:
    assert is_request(PROBE[:size]) is None


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    assert is_request(data) in (True, False, None)
    assert is_request(b"GET " + data) in (True, False, None)


def test_port_whose_probes_cannot_be_told_is_exempt_for_the_node() -> None:
    kubelet = Kubelet(frozenset([NODE]), dict([parse_probed("80=other"), parse_probed("81=http")]))
    assert kubelet.exempt(80) == (NODE,)
    assert not kubelet.exempt(81)
    assert not kubelet.exempt(82)


def test_only_the_node_may_ask_and_only_where_it_probes_by_requests() -> None:
    kubelet = Kubelet(frozenset([NODE]), {80: "http", 81: "other"})
    assert kubelet.may_ask(80, str(NODE))
    assert not kubelet.may_ask(80, str(CLIENT))
    assert not kubelet.may_ask(81, str(NODE))
    assert not kubelet.may_ask(82, str(NODE))


@pytest.mark.parametrize("text", ["80", "80=", "80=exec", "web=http", "=http"])
def test_unknown_probe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"kind of probe|invalid literal"):
        parse_probed(text)
