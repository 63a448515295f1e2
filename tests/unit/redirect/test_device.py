from __future__ import annotations

import pytest

from towline.redirect import device


@pytest.mark.parametrize(
    ("interfaces", "rank"),
    [
        ([], 0),
        (["lo", "eth0"], 0),
        (["lo", "tow0"], 1),
        (["tow2", "tow0"], 3),  # above all, so that the newest is the greatest
        (["towel", "xtow5", "tow7x", "tow"], 0),
        (["tow9", "tow10"], 11),
    ],
)
def test_next_rank_is_above_every_sessions(interfaces, rank):
    assert device.next_rank(interfaces) == rank
