"""No client of a service loses a request when an exchange of it begins, ends, or is cut off."""

from __future__ import annotations

import time

import pytest

from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.exchanging import exchanging
from tests.e2e.load import CLIENTS, load
from tests.e2e.waiting import until
from tests.e2e.workloads import HTTP, service, standing, workload

pytestmark = pytest.mark.usefixtures("no_trace")

REQUESTS = 10_000
HERE = "here"
# Until the last agent is gone, whose Job the cluster removes.
GONE_SECONDS = 40.0
# A port of a client that was reset may be used again at once: Linux' conntrack leads it to where it
# was before, for 10 s. An agent is there for that, unless its grace is shorter.
GRACE_SECONDS = 12
# After a session is killed.
DISTURBANCE_SECONDS = 3.0


@pytest.fixture(scope="module")
def shop(lab):
    with standing(lab, workload("Deployment", "shop"), service("shop")):
        yield objects.addresses_of_service(lab, "shop")[0]


@pytest.fixture
def here(laptop):
    with local_application(laptop, HERE):
        yield


def test_not_one_request_is_lost_at_the_switches(lab, laptop, shop, here):
    with load(lab, shop, HTTP) as under:
        meanwhile = exchange_under(lab, laptop, under, "--expose=8080:http", HERE)
        under.await_more(max(1, REQUESTS - under.count))
    tell(under)
    assert under.failures == []
    assert {request.answer for request in meanwhile} == {HERE}


def test_not_one_request_is_lost_while_no_program_listens(lab, laptop, shop):
    with load(lab, shop, HTTP) as under:
        exchange_under(lab, laptop, under, "--expose=8080:http", "shop")
        under.await_more(max(1, REQUESTS // 2 - under.count))
    tell(under)
    assert under.failures == []
    assert under.answers == {"shop": under.count}


def exchange_under(lab, laptop, under, exposed, answer):
    """An exchange from its start to its agent's end; gives the requests that began while it had
    the service for sure, which are many.
    """
    under.await_more(REQUESTS // 10)
    with exchanging(laptop, "shop", exposed) as session:
        session.ready()
        under.await_answer(answer)
        began = time.monotonic()
        under.await_more(REQUESTS // 5)
        ended = time.monotonic()
        session.interrupt()
        assert session.end() == 0
    until(lambda: not objects.agents(lab), GONE_SECONDS, "the agent to be gone")
    return [request for request in under.since(began) if request.ended < ended]


def test_killed_session_costs_the_requests_under_way_and_no_other(
    lab, laptop, shop, here, no_trace
):
    no_trace.allow_grace(GRACE_SECONDS)
    grace = f"--grace={GRACE_SECONDS}"
    with load(lab, shop, HTTP) as under:
        with exchanging(laptop, "shop", "--expose=8080:http", grace) as session:
            under.await_answer(HERE)
            under.await_more(REQUESTS // 10)
            killed = time.monotonic()
            session.process.kill()
            session.end()
            under.await_answer("shop")
        until(lambda: not objects.agents(lab), GONE_SECONDS, "the agent to be gone")
        under.await_more(REQUESTS // 10)
    tell(under)
    answered = min(each.ended for each in under.since(killed) if each.answer == "shop")
    print(f"no answer for {answered - killed:.2f} s")
    assert answered - killed < DISTURBANCE_SECONDS
    assert len(under.failures) <= CLIENTS
    assert [each for each in under.failures if each.began > answered] == []


def tell(under):
    longest = max(request.seconds for request in under.requests)
    print(f"{under.count} requests: {dict(under.answers)}; the longest took {longest:.2f} s")
