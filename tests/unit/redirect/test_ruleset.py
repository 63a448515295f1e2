from __future__ import annotations

import ipaddress

import pytest

from towline.redirect import ruleset

ADDRESSES = [ipaddress.ip_address(text) for text in ("127.0.0.53", "192.168.1.1", "fd00::53")]


def priorities_after(line_before):
    """The priorities of a chain of all sessions, the oldest session's first."""
    found = []
    for rank in range(ruleset.MAX_RANK + 1):
        lines = ruleset.create_table(rank).splitlines()
        line = lines[lines.index(line_before) + 1]
        found.append(int(line.split("priority")[1].strip(" ;")))
    return found


@pytest.mark.parametrize(
    ("chain", "least", "most"), [("  chain nat {", -199, -101), ("  chain zones {", -399, -300)]
)
def test_chains_of_newer_sessions_come_first_each_in_its_place_around_conntrack(chain, least, most):
    priorities = priorities_after(chain)
    assert priorities == sorted(set(priorities), reverse=True)
    assert least <= min(priorities)
    assert max(priorities) <= most


def test_marks_of_all_sessions_differ():
    marks = {ruleset.mark(rank) for rank in range(ruleset.MAX_RANK + 1)}
    assert len(marks) == ruleset.MAX_RANK + 1


@pytest.mark.parametrize("bits", [0x4000, 0x8000])
def test_marks_have_no_bit_that_others_look_for(bits):
    assert not any(ruleset.mark(rank) & bits for rank in range(ruleset.MAX_RANK + 1))


def test_capture_dns_leaves_out_a_family_without_nameservers():
    assert "ip6 daddr" not in ruleset.capture_dns(0, ADDRESSES[:2], 5353)
    assert "ip daddr" not in ruleset.capture_dns(0, ADDRESSES[2:], 5353)


def test_capture_link_of_no_port_empties_the_chain():
    assert "redirect to :5353" in ruleset.capture_link(3, 5353)
    assert ruleset.capture_link(3, 0) == "flush chain inet tow3 link"


@pytest.mark.parametrize(
    "rules", [ruleset.capture_dns(0, ADDRESSES, 5353), ruleset.capture_link(0, 5353)]
)
def test_of_a_connection_only_the_first_packet_is_led_elsewhere(rules):
    led = [line for line in rules.splitlines() if "redirect" in line and "udp" not in line]
    assert led
    assert all("tcp flags syn / syn,ack,rst" in line for line in led)


def test_capture_dns_of_nothing_empties_the_chain():
    text = ruleset.capture_dns(3, [], 5353)
    assert "flush chain inet tow3 nameservers" in text
    assert "flush chain inet tow3 zones" in text
    assert "redirect" not in text
