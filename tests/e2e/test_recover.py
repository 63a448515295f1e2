"""What a broken session has left on a service is put right, by whoever may do that."""

from __future__ import annotations

import json

import pytest

from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.broken import (
    NAMESPACE,
    allowed,
    annotate,
    delete_job,
    leftovers,
    service,
    told,
)
from tests.e2e.load import load
from tests.e2e.tow import starting

ACCESS_ERROR = 5
API_ERROR = 4
SESSION_ERROR = 8

pytestmark = pytest.mark.usefixtures("no_trace")


def test_documented_rights_put_the_service_right(lab, laptop):
    before = service(lab)["spec"]
    with leftovers(lab, laptop) as agent, allowed(lab, laptop, "recover") as who:
        done = told(laptop, "recover", "web", *who)
        assert (done["changed"], done["removed"], done["agent"]) == (True, True, agent)
        assert done["owner"].startswith("root@")
        assert service(lab)["spec"] == before
        again = told(laptop, "recover", "svc/web", *who)
        assert (again["changed"], again["removed"]) == (False, False)


def test_no_request_is_lost(lab, laptop):
    with leftovers(lab, laptop):
        address, _ = objects.addresses_of_service(lab, "web", NAMESPACE)
        with load(lab, address, 80) as under:
            under.await_count(200)
            told(laptop, "recover", "web", "-n", NAMESPACE)
            under.await_more(200)
        assert under.failures == []
        assert set(under.answers) == {"team-web"}


def test_session_that_is_well_sees_it_and_ends(lab, laptop):
    with local_application(laptop) as port:
        what = ("web", f"--expose={port}:80")
        with starting(laptop, *what, command="exchange") as session:
            session.ready()
            address, _ = objects.addresses_of_service(lab, "web")
            with load(lab, address, 80) as under:
                under.await_answer("here")
                told(laptop, "recover", "web")
                error = session.error()
                under.await_answer("web")
            assert under.failures == []
        assert error["exit_code"] == SESSION_ERROR
        assert "svc/web was put back" in error["summary"]


def test_record_whose_agent_is_gone(lab, laptop):
    before = service(lab)["spec"]
    with leftovers(lab, laptop) as agent:
        delete_job(lab, agent)
        done = told(laptop, "recover", "web", "-n", NAMESPACE)
        assert (done["changed"], done["removed"]) == (True, False)
    assert service(lab)["spec"] == before


def test_record_that_is_gone_is_known_by_the_agent_and_by_no_other_session(lab, laptop):
    before = service(lab)["spec"]
    with leftovers(lab, laptop), allowed(lab, laptop, "recover") as who:
        annotate(lab, "towline/interception-")
        with starting(laptop, "web", "-n", NAMESPACE, command="exchange") as another:
            error = another.error()
            assert error["exit_code"] == SESSION_ERROR
            assert "tow recover svc/web" in error["hint"]
        assert told(laptop, "recover", "web", *who)["removed"]
    assert service(lab)["spec"] == before


def test_what_nothing_tells_any_more_is_said(lab, laptop):
    before = service(lab)
    with leftovers(lab, laptop) as agent:
        annotate(lab, "towline/interception-")
        delete_job(lab, agent)
        done = laptop.run(laptop.tow, "recover", "web", "-n", NAMESPACE)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "What svc/web was before is not known" in done.stderr
        assert "kubectl set selector service web" in done.stderr
        selector = {"spec": {"selector": {**before["spec"]["selector"], "towline/agent": None}}}
        change = ("--type=merge", "-p", json.dumps(selector))
        lab.kubectl("patch", "service", "web", "-n", NAMESPACE, *change)


@pytest.mark.parametrize("target", ["web", "svc/web", "deploy/web"])
def test_nothing_to_recover_is_no_error(laptop, target):
    done = laptop.run(laptop.tow, "recover", target, "-n", NAMESPACE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to recover" in done.stdout


def test_object_that_is_not_there_is_said(laptop):
    done = laptop.run(laptop.tow, "recover", "nothing")
    assert done.returncode == API_ERROR
    assert "nothing" in done.stderr


def test_right_that_is_missing_is_named(lab, laptop):
    with leftovers(lab, laptop), allowed(lab, laptop, "list") as who:
        done = laptop.run(laptop.tow, "recover", "web", *who)
        assert done.returncode == ACCESS_ERROR
        assert "get services web in the namespace team-a" in done.stderr
        told(laptop, "recover", "web", "-n", NAMESPACE)
