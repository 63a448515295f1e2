from __future__ import annotations

import pytest

from tests.e2e.trace import kernel


@pytest.mark.parametrize(
    "command",
    [
        "nft list ruleset",
        "ip -d link show",
        "ip address show",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip -4 rule show",
        "ip -6 rule show",
    ],
)
def test_view_shows_what_a_command_says(command):
    before = kernel.view(lambda _: "as ever")
    after = kernel.view(lambda asked: "something new" if asked == command else "as ever")
    assert {name for name in after if after[name] != before[name]} == {command}


def test_settings_shows_a_change_and_no_counters(tmp_path):
    (tmp_path / "netfilter").mkdir()
    (tmp_path / "netfilter" / "nf_conntrack_count").write_text("7")
    (tmp_path / "ip_forward").write_text("0\n")
    assert kernel.settings(tmp_path) == {"ip_forward": "0"}
    (tmp_path / "ip_forward").write_text("1\n")
    assert kernel.settings(tmp_path) == {"ip_forward": "1"}


def test_settings_of_this_network_can_be_read():
    assert "ipv4/ip_forward" in kernel.settings()


def test_run_fails_with_the_command():
    with pytest.raises(AssertionError, match="ls /nonexistent"):
        kernel.run("ls /nonexistent")
