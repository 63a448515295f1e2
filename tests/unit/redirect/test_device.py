from __future__ import annotations

import pytest

from towline.redirect import device
from towline.redirect.ruleset import MAX_RANK


@pytest.mark.parametrize(
    ("interfaces", "rank"),
    [
        ([], 0),
        (["lo", "eth0"], 0),
        (["lo", "tow0"], 1),
        (["tow2", "tow0"], 3),  # above all, so that the newest is the greatest
        (["towel", "xtow5", "tow7x", "tow"], 0),
        (["tow9", "tow10"], 11),
        ([f"tow{MAX_RANK}"], 0),  # none is above
        ([f"tow{MAX_RANK + 7}", "tow0", "tow2"], 1),
    ],
)
def test_first_choice_is_above_every_sessions_or_else_the_lowest(interfaces, rank):
    assert device.free_ranks(interfaces)[0] == rank


def test_no_rank_is_free_when_all_are_taken():
    assert device.free_ranks([f"tow{rank}" for rank in range(MAX_RANK + 1)]) == []
