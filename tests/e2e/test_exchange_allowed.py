"""An exchange by somebody who may do little, and in namespaces that do not allow much."""

from __future__ import annotations

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.answering import program
from tests.e2e.broken import NAMESPACE, as_user, service
from tests.e2e.exchanging import await_answerer, exchanged, exchanging
from tests.e2e.tow import GRACE_SECONDS
from tests.e2e.waiting import until

ACCESS_ERROR = 5
NARROW = "e2e-narrow"
PORT = "--expose=8080:80"

pytestmark = pytest.mark.usefixtures("no_trace")

RULES = [*documented.rules("connect"), *documented.rules("exchange")]
UNDOING = documented.rules("exchange", part=1)
LABELLED = ("-n", NAMESPACE, "-l", f"{objects.MANAGED},team=shop")
RIGHTS = [
    (verb, resource) for rule in RULES for resource in rule["resources"] for verb in rule["verbs"]
]


def told(session):
    return [each["message"] for each in session.events if each["event"] == "note"]


def test_documented_rights_are_enough_and_what_else_the_agent_could_do_is_said(lab, laptop):
    with objects.user(lab, "exchanges-only", RULES, NAMESPACE), program(laptop) as here:
        who = as_user(lab, laptop, "exchanges-only")
        with exchanged(laptop, "web", f"--expose={here.port}:80", *who) as session:
            await_answerer(lab, "here", "web", NAMESPACE)
            (note,) = told(session)
            assert "may not make Roles" in note
            assert "tow recover svc/web" in note
        await_answerer(lab, "team-web", "web", NAMESPACE)


def test_with_the_further_rights_the_agent_puts_it_back_by_itself(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with objects.user(lab, "exchanges-undone", [*RULES, *UNDOING], NAMESPACE):
        who = as_user(lab, laptop, "exchanges-undone")
        before = service(lab)["spec"]
        with exchanging(laptop, "web", PORT, *who) as session:
            session.ready()
            assert told(session) == []
            session.process.kill()
            session.end()
        until(lambda: service(lab)["spec"] == before, 30, "the service to be as it was")
        until(lambda: not objects.agents(lab), 30, "the agent to be gone")


def test_agent_may_be_an_account_that_is_there_and_puts_it_back_as_that(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    roles = [rule for rule in UNDOING if "serviceaccounts" not in rule["resources"]]
    head = {"name": "e2e-runner", "namespace": NAMESPACE}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": head}
    options = ["--service-account=e2e-runner", "--label=team=shop"]
    with (
        objects.applied(lab, account),
        objects.user(lab, "exchanges-runner", [*RULES, *roles], NAMESPACE),
    ):
        who = as_user(lab, laptop, "exchanges-runner")
        before = service(lab)["spec"]
        with exchanging(laptop, "web", PORT, *options, *who) as session:
            session.ready()
            assert told(session) == []
            found = lab.kubectl_json("services,roles,rolebindings,jobs", *LABELLED)["items"]
            assert len(found) == 4
            session.process.kill()
            session.end()
        until(lambda: service(lab)["spec"] == before, 30, "the service to be as it was")
        until(lambda: not objects.agents(lab), 30, "the agent to be gone")


def confined(rule):
    """The same for one object, as far as the API can tell beforehand which one it is."""
    if "services" not in rule["resources"]:
        return [rule]
    verbs = [verb for verb in rule["verbs"] if verb != "create"]
    return [{**rule, "verbs": ["create"]}, {**rule, "verbs": verbs, "resourceNames": ["web"]}]


def test_rights_may_be_for_one_service(lab, laptop):
    rules = [each for rule in [*RULES, *UNDOING] for each in confined(rule)]
    with objects.user(lab, "exchanges-web", rules, NAMESPACE):
        who = as_user(lab, laptop, "exchanges-web")
        with exchanged(laptop, "web", PORT, *who) as session:
            assert told(session) == []


def test_each_right_that_is_missing_is_named_before_anything_is_changed(lab, laptop):
    before = service(lab)["metadata"]["resourceVersion"]
    with objects.user(lab, "exchanges-less", RULES, NAMESPACE):
        for verb, resource in RIGHTS:
            lab.add_user("exchanges-less", without(verb, resource), namespace=NAMESPACE)
            who = as_user(lab, laptop, "exchanges-less")
            with exchanging(laptop, "web", PORT, *who) as session:
                error = session.error()
            assert error["exit_code"] == ACCESS_ERROR
            assert f"{verb} {resource}" in error["summary"].replace(".batch", "")
            assert "Nothing was changed" in error["hint"]
            assert objects.agents(lab) == []
    assert service(lab)["metadata"]["resourceVersion"] == before


def without(verb, resource):
    return [
        {**rule, "verbs": [each for each in rule["verbs"] if each != verb]}
        if resource in rule["resources"]
        else rule
        for rule in RULES
    ]


def test_works_in_a_restricted_namespace_also_with_nothing_behind_the_service(lab, laptop):
    made = objects.service("lonely", "restricted", "nobody")
    with objects.applied(lab, made), program(laptop) as here:
        what = ("lonely", f"--expose={here.port}:80", "-n", "restricted")
        with exchanged(laptop, *what) as session:
            await_answerer(lab, "here", "lonely", "restricted")
            assert told(session) == []


def narrowed(kind, spec):
    head = {"name": "narrow", "namespace": NARROW}
    return {"apiVersion": "v1", "kind": kind, "metadata": head, "spec": spec}


LIMITS = {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]}


@pytest.mark.parametrize(
    ("narrow", "words"),
    [
        (narrowed("ResourceQuota", {"hard": {"services": "1"}}), "services=1"),
        (narrowed("ResourceQuota", {"hard": {"pods": "0"}}), "pods=1"),
        (narrowed("LimitRange", LIMITS), "128Mi"),
    ],
)
def test_namespace_that_has_no_room_is_named_and_left_as_it_was(lab, laptop, narrow, words):
    made = objects.service("web", NARROW, "nobody")
    with objects.namespace(lab, NARROW, made, narrow):
        before = lab.kubectl_json("service", "web", "-n", NARROW)
        with exchanging(laptop, "web", PORT, "-n", NARROW) as session:
            error = session.error()
        assert error["exit_code"] == ACCESS_ERROR
        assert words in error["summary"]
        assert lab.kubectl_json("service", "web", "-n", NARROW) == before


def test_documented_rights_are_enough_to_go_on_with_the_next_pod(lab, laptop):
    with objects.user(lab, "exchanges-on", RULES, NAMESPACE), program(laptop) as here:
        who = as_user(lab, laptop, "exchanges-on")
        with exchanged(laptop, "web", f"--expose={here.port}:80", *who) as session:
            lost, told_before = session.ready()["agent"], len(session.events)
            lab.kubectl("delete", "pod", lost, "-n", NAMESPACE, "--wait=false")
            session.event("reconnected", after=told_before, seconds=60)
            await_answerer(lab, "here", "web", NAMESPACE)
