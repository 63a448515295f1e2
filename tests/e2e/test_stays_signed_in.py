"""A session outlives what it has signed in with, if there is something new, or once that is."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager

import pytest

from lab import shortlived
from lab.layout import CHECKOUT
from tests.e2e import objects
from tests.e2e.echoing import Echo, other_transport_than
from tests.e2e.outage import cut
from tests.e2e.returning import told
from tests.e2e.tow import connected
from tests.e2e.waiting import until

NAMESPACE, ACCOUNT = "default", "stays-up"
# How long something short-lived is good for: for a session to use it at all, however busy the
# machine. The API server believes in a token for 10 s more.
SHORT_SECONDS = 6
ENDED_SECONDS = SHORT_SECONDS + 30
# A sign-in that has ended is tried again so often, and told of when that has failed twice.
TOLD_SECONDS = 20
BACK_SECONDS = 15

pytestmark = pytest.mark.usefixtures("no_trace")

HEAD = {"metadata": {"name": ACCOUNT, "namespace": NAMESPACE}}
RBAC = "rbac.authorization.k8s.io"
BINDING = {
    **HEAD,
    "apiVersion": f"{RBAC}/v1",
    "kind": "RoleBinding",
    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
}
SERVICE_ACCOUNT = {**HEAD, "apiVersion": "v1", "kind": "ServiceAccount"}


@pytest.fixture(autouse=True)
def account(lab, no_trace):
    """Who signs in here, and may do anything in the namespace."""
    with objects.applied(lab, SERVICE_ACCOUNT, BINDING):
        yield


def uid_of_account(lab):
    found = lab.kubectl_json("serviceaccount", ACCOUNT, "-n", NAMESPACE)
    return found["metadata"]["uid"]


def token_of_account(lab):
    """One for as long as it is wanted here."""
    return lab.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, "--duration=1h").strip()


def kubeconfig(laptop, **user):
    """One with that user, by the content of its fields."""
    return laptop.kubeconfig_with(
        "signed-in.yaml", lambda config: config["users"][0].update(user=user)
    )


def is_refused(lab, file):
    """Whether the API server does not know who that is."""
    done = lab.run_in_laptop(["kubectl", "--kubeconfig", str(file), "get", "--raw", "/version"])
    return "Unauthorized" in done.stderr or "provide credentials" in done.stderr


def replace(file, text):
    """As programs that sign in do: all at once."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def assert_replaces_a_transport(laptop, session):
    """One that is cut is made anew, with nothing said, and flows on the other one go on."""
    with Echo(laptop) as echo:
        kept = echo.transport()
        with other_transport_than(laptop, {kept}) as (_, port):
            with cut(laptop, port), other_transport_than(laptop, {kept, port}):
                echo.talk()
    assert told(session) == []


PLUGIN = """
import json, sys
from lab import shortlived
from lab.layout import Layout

lab, namespace, account, uid, seconds, log = sys.argv[1:]
token = shortlived.token(Layout(lab), namespace, account, uid, int(seconds))
with open(log, "a") as file:
    file.write(token + "\\n")
version = "client.authentication.k8s.io/v1"
print(json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": {"token": token}}))
"""


def test_plugin_is_asked_again_once_its_token_has_expired(lab, laptop):
    """Although it has not said when that is."""
    log = laptop.input("tokens", "")
    arguments = [lab.layout.name, NAMESPACE, ACCOUNT, uid_of_account(lab), str(SHORT_SECONDS)]
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(laptop.input("plugin.py", PLUGIN)), *arguments, str(log)],
        "env": [{"name": "PYTHONPATH", "value": str(CHECKOUT)}],
        "interactiveMode": "Never",
    }
    with connected(laptop, "-c", kubeconfig(laptop, exec=plugin)) as session:
        given = log.read_text().split()
        last = laptop.kubeconfig_with(
            "last.yaml", lambda config: config["users"][0].update(user={"token": given[-1]})
        )
        until(lambda: is_refused(lab, last), ENDED_SECONDS, "the token to have expired")
        assert_replaces_a_transport(laptop, session)
        assert len(log.read_text().split()) > len(given)


def test_token_file_is_read_again_once_its_token_is_refused(lab, laptop):
    """Which is long before it is looked at for its age."""
    with revocable_token(lab) as (token, revoke):
        file = laptop.input("token", token)
        config = kubeconfig(laptop, tokenFile=str(file))
        with connected(laptop, "-c", config) as session:
            revoke()
            until(lambda: is_refused(lab, config), ENDED_SECONDS, "the token to be refused")
            replace(file, token_of_account(lab))
            assert_replaces_a_transport(laptop, session)


@contextmanager
def revocable_token(lab):
    """One that is good for as long as a Secret is there, which is deleted by the function."""
    secret = {**HEAD, "apiVersion": "v1", "kind": "Secret"}
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={ACCOUNT}")
    with objects.applied(lab, secret):
        token = lab.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, *bound).strip()
        yield token, lambda: lab.kubectl("delete", "secret", ACCOUNT, "-n", NAMESPACE)


def test_certificate_is_read_again_once_it_has_expired(lab, laptop):
    certificate, key = laptop.input("me.crt", ""), laptop.input("me.key", "")

    def renew(seconds):
        made = shortlived.certificate(lab.layout, ACCOUNT, "system:masters", seconds)
        replace(key, made.key)
        replace(certificate, made.certificate)

    files = {"client-certificate": str(certificate), "client-key": str(key)}
    config = kubeconfig(laptop, **files)
    with renewing(lambda: renew(SHORT_SECONDS)) as stop, connected(laptop, "-c", config) as session:
        stop()
        until(lambda: is_refused(lab, config), ENDED_SECONDS, "the certificate to have expired")
        renew(3600)
        assert_replaces_a_transport(laptop, session)


@contextmanager
def renewing(renew):
    """It is done again and again, and has been done once; until the function is called."""
    over = threading.Event()

    def run():
        while not over.wait(SHORT_SECONDS / 3):
            renew()

    def stop():
        over.set()
        thread.join()

    renew()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stop
    finally:
        stop()


def test_account_that_is_deleted_is_told_and_a_new_sign_in_taken(lab, laptop):
    """The token is in the kubeconfig itself, as some tools for signing in write it there."""
    token = token_of_account(lab)
    config = kubeconfig(laptop, token=token)
    with connected(laptop, "-c", config, "--grace=60") as session:
        pod, seen = session.ready()["agent"], len(session.events)
        lab.kubectl("delete", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
        until(lambda: is_refused(lab, config), ENDED_SECONDS, "the account to be gone")
        lose_the_link(laptop)
        words = "did not accept the credentials"
        until(lambda: has_said(session, seen, words), TOLD_SECONDS, "the refusal to be told")
        seen = len(session.events)
        lab.kubectl("apply", "-f", "-", stdin=json.dumps(SERVICE_ACCOUNT))
        replace(config, config.read_text().replace(token, token_of_account(lab)))
        back = session.event("reconnected", after=seen, seconds=BACK_SECONDS)
        assert back["agent"] == pod


def lose_the_link(laptop):
    """Both transports, while new ones may be made."""
    with Echo(laptop) as echo:
        one = echo.transport()
        with other_transport_than(laptop, {one}) as (other, another):
            with cut(laptop, one), cut(laptop, another):
                flows = (echo, other)
                until(lambda: all(flow.has_ended() for flow in flows), 10, "both to be lost")


def has_said(session, seen, words):
    """Whether it has told why the link does not come back."""
    told = (each["message"] for each in session.events[seen:] if each["event"] == "reconnecting")
    return any(words in message for message in told)
