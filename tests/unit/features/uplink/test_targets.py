"""What may be named to be led to the cluster, or to be left alone."""

from contextlib import suppress
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import UsageError
from towline.features.uplink import targets
from towline.features.uplink.targets import NOTHING, Targets


def test_networks_addresses_and_hosts_are_told_apart():
    words = ["10.1.0.0/16, fd00::/64", "10.2.3.4", "DB.corp.example.", "db.corp.example", "_x.y"]
    assert targets.included(words) == Targets(
        frozenset(map(ip_network, ("10.1.0.0/16", "fd00::/64", "10.2.3.4"))),
        ("db.corp.example", "_x.y"),
    )
    assert targets.excluded([]) == NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1",
        "10.1.0.0/33",
        "10.0.0.256",
        "a b",
        "http://db",
        "db:80",
        "fe80::1%eth0",
        "-x",
        "a..b",
    ],
)
def test_what_names_no_address_is_refused(text):
    for read in (targets.included, targets.excluded):
        with pytest.raises(UsageError):
            read([text])


def test_address_inside_a_network_is_asked_about():
    with pytest.raises(UsageError) as refused:
        targets.included(["10.1.2.3/16"])
    assert "10.1.0.0/16" in refused.value.hint


@pytest.mark.parametrize("text", ["0.0.0.0/0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "::1"])
def test_what_this_machine_needs_cannot_be_included_but_excluded(text):
    with pytest.raises(UsageError):
        targets.included([text])
    targets.excluded([text])


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(UsageError):
        targets.included([text])
