from __future__ import annotations

import ipaddress

import pytest

from towline.redirect import ruleset

ADDRESSES = [ipaddress.ip_address(text) for text in ("127.0.0.53", "192.168.1.1", "fd00::53")]


def test_nat_chains_of_newer_sessions_come_first_and_all_after_conntrack():
    priorities = []
    for rank in range(ruleset.MAX_RANK + 1):
        text = ruleset.create_table(rank)
        line = next(line for line in text.splitlines() if "type nat" in line)
        priorities.append(int(line.split("priority")[1].strip(" ;")))
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == len(priorities)
    assert min(priorities) > -200
    assert max(priorities) < -100


def test_marks_of_all_sessions_differ():
    marks = {ruleset.mark(rank) for rank in range(ruleset.MAX_RANK + 1)}
    assert len(marks) == ruleset.MAX_RANK + 1


@pytest.mark.parametrize("bits", [0x4000, 0x8000])
def test_marks_have_no_bit_that_others_look_for(bits):
    assert not any(ruleset.mark(rank) & bits for rank in range(ruleset.MAX_RANK + 1))


def test_capture_dns_leaves_out_a_family_without_nameservers():
    assert "ip6 daddr" not in ruleset.capture_dns(0, ADDRESSES[:2], 5353)
    assert "ip daddr" not in ruleset.capture_dns(0, ADDRESSES[2:], 5353)


def test_capture_dns_of_nothing_empties_the_chain():
    text = ruleset.capture_dns(3, [], 5353)
    assert "flush chain inet tow3 nameservers" in text
    assert "redirect" not in text
