"""Which addresses a session leads to the cluster: by rights, by wish, beside other routes."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from lab.errors import LabError
from tests import documented
from tests.e2e import behind, objects
from tests.e2e.tow import connected
from tests.e2e.waiting import until

RULES = documented.rules("connect")
SERVICES_V4, PODS_V4 = "10.96.0.0/16", "10.244.0.0/24"
DATABASE_V4 = "172.31.77.7"
# Of a zone that only the cluster knows (lab/manifests/10-coredns.yaml).
ZONE_HOST, ZONE_HOST_V4 = "db.corp.internal", "10.77.0.5"
MORE_V4 = "10.98.7.0/24"
VPN_V4 = "10.96.64.0/20"
FOLLOWED_SECONDS = 60

LIST = ["list", "watch"]
# What each user may do besides, in the namespace and in the whole cluster, and how its session
# then knows the ranges.
USERS = {
    "by-nothing": ([], [], {"agent"}),
    "by-error": (
        [{"apiGroups": [""], "resources": ["services"], "verbs": ["create"]}],
        [],
        {"api-errors", "agent"},
    ),
    "by-seeing": (
        [{"apiGroups": [""], "resources": ["services"], "verbs": LIST}],
        [],
        {"agent", "seen"},
    ),
    "by-servicecidrs": (
        [],
        [{"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": LIST}],
        {"servicecidrs", "agent"},
    ),
    "by-nodes": (
        [],
        [{"apiGroups": [""], "resources": ["nodes"], "verbs": LIST}],
        {"nodes", "agent"},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def users(lab):
    for name, (rules, _, _) in USERS.items():
        lab.add_user(name, [*RULES, *rules], namespace="team-a")
    with objects.applied(lab, *(each for name in USERS for each in cluster_role(name))):
        for name, (_, rules, _) in USERS.items():
            for rule in rules:
                what = f"{rule['resources'][0]}.{rule['apiGroups'][0]}".rstrip(".")
                until(
                    lambda what=what, name=name: may_list(lab, what, name), 30, f"{name}'s rights"
                )
        yield
    for name in USERS:
        lab.kubectl("delete", f"role/{name}", f"rolebinding/{name}", "-n", "team-a")


def may_list(lab, what, user):
    try:
        lab.kubectl("auth", "can-i", "list", what, "--as", user)
    except LabError:
        return False
    return True


@pytest.fixture(autouse=True)
def trace(users, no_trace):
    return no_trace


def cluster_role(name):
    group = "rbac.authorization.k8s.io"
    about = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    yield {**about, "kind": "ClusterRole", "rules": USERS[name][1]}
    yield {
        **about,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }


def captured(laptop):
    """The ranges that the one session leads to the cluster, by where they are known from."""
    (status,) = json.loads(laptop.run(laptop.tow, "status", "-o", "json").stdout)
    return {each["source"]: each["ranges"] for each in status["captured"]}


def way_to(laptop, address):
    """The device by which the laptop reaches an address, "" if it does not."""
    done = laptop.run("ip", "-json", "route", "get", address)
    return json.loads(done.stdout)[0]["dev"] if done.returncode == 0 else ""


def who_answers(laptop, url):
    done = laptop.run("curl", "-sS", "--max-time", "10", url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["name"]


@pytest.mark.parametrize("name", USERS)
def test_ranges_are_known_by_each_right_alone(lab, laptop, name):
    file = laptop.input(name, lab.kubeconfig(name).read_text())
    with connected(laptop, "-c", file, "-n", "team-a"):
        found = captured(laptop)
        assert set(found) == USERS[name][2]
        ranges = {each for some in found.values() for each in some}
        assert PODS_V4 in ranges
        assert (SERVICES_V4 in ranges) == (name in ("by-error", "by-servicecidrs"))
        if name not in ("by-nothing", "by-nodes"):
            address = objects.addresses_of_service(lab, "web", "team-a")[0]
            assert who_answers(laptop, f"http://{address}") == "team-web"
        assert who_answers(laptop, "http://web") == "team-web"


def test_what_is_included_is_reached_and_what_is_excluded_is_not(lab, laptop):
    web, other = (objects.addresses_of_service(lab, name)[0] for name in ("web", "sample"))
    arguments = ("--include", f"{DATABASE_V4},{ZONE_HOST}", "--exclude", web, "--no-pods")
    with (
        behind.serving(lab, DATABASE_V4),
        behind.serving(lab, ZONE_HOST_V4),
        connected(laptop, *arguments) as session,
    ):
        device = session.ready()["device"]
        assert says(laptop, DATABASE_V4) == behind.HELLO
        assert way_to(laptop, ZONE_HOST_V4) == device, "before anybody has looked it up"
        assert {ZONE_HOST_V4} <= addresses(laptop, ZONE_HOST)
        assert says(laptop, ZONE_HOST_V4) == behind.HELLO
        assert [way_to(laptop, each) for each in (web, other)] == ["", device]
        assert web in addresses(laptop, "web")
        assert way_to(laptop, web) == "", "not by its name either"
        assert set(captured(laptop)) >= {"included", "servicecidrs"}
        assert "nodes" not in captured(laptop)


def says(laptop, address):
    """What the database there says."""
    with laptop.connect_to(address, behind.PORT) as client:
        return client.recv(1000)


def addresses(laptop, host):
    return {line.split()[0] for line in laptop.run("getent", "ahosts", host).stdout.splitlines()}


def test_new_range_of_services_is_led_here_while_it_is_there(lab, laptop):
    more = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "more"},
        "spec": {"cidrs": [MORE_V4]},
    }
    address = str(ip_network(MORE_V4)[7])
    with connected(laptop) as session:
        device = session.ready()["device"]
        assert way_to(laptop, address) == ""
        with objects.applied(lab, more):
            until(lambda: way_to(laptop, address) == device, FOLLOWED_SECONDS, "the new range")
            assert MORE_V4 in captured(laptop)["servicecidrs"]
            new = objects.service("new", "default", "web", clusterIP=address)
            until(lambda: is_made(lab, new), FOLLOWED_SECONDS, "a service in it")
            with objects.serving(lab, new):
                assert who_answers(laptop, f"http://{address}") == "web"
        until(lambda: way_to(laptop, address) == "", FOLLOWED_SECONDS, "the range to be gone")


def is_made(lab, service):
    """Whether the API server allocates addresses of the new range already."""
    try:
        lab.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(service))
    except LabError:
        return False
    return True


@pytest.fixture
def vpn(laptop, trace):
    """A VPN-like route into the services' range, and a service whose address is in it."""
    script = f"""
        ip link add vpn0 type veth peer name vpn1 && ip link set vpn0 up && ip link set vpn1 up
        ip address add 10.250.0.1/32 dev vpn0 && ip route add {VPN_V4} dev vpn0
    """
    assert laptop.run("sh", "-ec", script).returncode == 0
    yield "vpn0"
    laptop.run("ip", "link", "delete", "vpn0")


def test_where_the_laptop_has_a_route_only_what_exists_is_led_to_the_cluster(lab, laptop, vpn):
    taken, free = (str(ip_network(VPN_V4)[number]) for number in (7, 8))
    with objects.serving(lab, objects.service("there", "default", "web", clusterIP=taken)):
        with connected(laptop) as session:
            note = session.event("note")
            assert VPN_V4 in note["what"]
            assert taken in note["what"]
            assert who_answers(laptop, f"http://{taken}") == "web"
            assert way_to(laptop, free) == vpn
            added = objects.service("later", "default", "web", clusterIP=free)
            with objects.serving(lab, added):
                until(lambda: way_to(laptop, free) != vpn, FOLLOWED_SECONDS, "a way to it")
                assert who_answers(laptop, f"http://{free}") == "web"
        assert way_to(laptop, taken) == vpn
    with connected(laptop, "--include", VPN_V4) as session:
        assert way_to(laptop, free) == session.ready()["device"]
        assert not [event for event in session.events if event["event"] == "note"]


def test_check_tells_of_ranges_and_of_what_is_in_their_way(laptop, vpn):
    done = laptop.run(laptop.tow, "check", "-o", "json")
    found = [
        finding for finding in json.loads(done.stdout) if finding["name"] in ("ranges", "routes")
    ]
    assert any(SERVICES_V4 in each["what"] and "servicecidrs" in each["what"] for each in found)
    assert any(vpn in each["what"] and each["verdict"] == "warning" for each in found)
