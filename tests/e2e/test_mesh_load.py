"""People come to a shared service and go, and neither pods nor other people lose anything by it."""

from __future__ import annotations

import pytest

from tests.e2e import objects
from tests.e2e.meshing import await_answers, meshed, meshing
from tests.e2e.sharing import RESIDENT, RESIDENT2, asking, come_and_go, programs

PEOPLE, TIMES = 20, 5
PORT, H2_PORT = 8300, 8301

pytestmark = pytest.mark.usefixtures("no_trace")


def test_nothing_is_lost_while_twenty_people_come_and_go(lab, laptop, no_trace):
    no_trace.allow_grace(10)
    made = objects.service("shared", "default", "web")
    resident = ("shared", f"--expose={PORT}:80", f"--match=header:x-user={RESIDENT}")
    other = ("shared", f"--expose={H2_PORT}:80", f"--match=header:x-user={RESIDENT2}")
    killed_one = ("shared", f"--expose={PORT}:80", "--match=header:x-user=killed")
    with objects.serving(lab, made), programs(laptop, PORT, H2_PORT):
        with meshed(laptop, *resident, "--grace=10"), meshed(laptop, *other, "--grace=10"):
            addresses = objects.addresses_of_service(lab, "shared")
            await_answers(lab, RESIDENT, addresses, x_user=RESIDENT)
            with asking(lab, addresses[0], 80) as seen:
                with meshing(laptop, *killed_one) as killed:
                    killed.ready()
                    seconds = come_and_go(laptop, "shared", PORT, PEOPLE, TIMES)
                    killed.process.kill()
    assert len(seconds) == PEOPLE * TIMES
    assert seen["wrong"] == []
    assert set(seen["well"]) == {"pods", "resident", "events", "websocket", "h2"}
    print(f"joined within {seconds[len(seconds) // 2]:.2f} s (p50), {seconds[-1]:.2f} s", seen)
