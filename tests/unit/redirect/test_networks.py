from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from towline.redirect.networks import Networks


def network(place: tuple[int, int, int]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """One of the few that lie in the last bits of each family, so that they overlap often."""
    version, number, bits = place
    width = 32 if version == 4 else 128
    number = number >> bits << bits
    address = ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)
    return ipaddress.ip_network((address, width - bits))


networks = st.tuples(st.sampled_from([4, 6]), st.integers(0, 31), st.integers(0, 5)).map(network)


@given(st.lists(networks, max_size=12), st.lists(networks, max_size=8))
def test_addresses_are_covered_that_are_in_what_was_added_and_not_discarded(added, discarded):
    some = Networks()
    for each in added:
        some.add(each)
    for each in discarded:
        some.discard(each)
    left = set(added) - set(discarded)
    assert set(some) == left
    assert all((each in some) == (each in left) for each in (*added, *discarded))
    for number in range(33):
        for address in (ipaddress.IPv4Address(number), ipaddress.IPv6Address(number)):
            assert some.cover(address) == any(
                address.version == each.version and address in each for each in left
            )


def test_whole_of_a_family_covers_that_and_no_other():
    some = Networks()
    some.add(ipaddress.ip_network("::/0"))
    assert some.cover(ipaddress.ip_address("ffff::1"))
    assert not some.cover(ipaddress.ip_address("0.0.0.1"))
