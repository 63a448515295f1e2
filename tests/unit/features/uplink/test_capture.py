"""What is led to the cluster, by its ranges, this machine's routes and the user's wishes."""

from ipaddress import ip_address, ip_network

import pytest

from tests.unit.features.uplink.discovered import Discovered, Link
from towline.cluster.ranges import Answer, Kind, Source
from towline.features.uplink import capture as module
from towline.features.uplink.capture import Capture, Choice
from towline.features.uplink.leads import Leads
from towline.features.uplink.named import Named
from towline.features.uplink.targets import Targets
from towline.kube.config import Access
from towline.redirect.conflicts import Route

ACCESS = Access("https://192.168.7.1:6443", "default", "lab", "here")
SERVICES, VPN = ip_network("10.96.0.0/16"), ip_network("10.96.4.0/24")
REFUSED = {ip_network("10.66.0.0/16")}
THERE, ELSEWHERE = ip_network("10.96.4.7"), ip_network("10.96.9.9")


class Routes:
    def __init__(self):
        self.led = set()

    async def add_routes(self, ranges):
        self.led.update(ranges)
        return dict.fromkeys(REFUSED.intersection(ranges), "no room")

    async def remove_routes(self, ranges):
        self.led.difference_update(ranges)

    def lead(self, network):
        return any(network.network_address in each for each in self.led)


@pytest.fixture
def machine(monkeypatch):
    """This machine's routes and neighbours, for a test to set."""
    routes, near = [], set()
    monkeypatch.setattr(module.conflicts, "read_routes", lambda: routes)
    monkeypatch.setattr(module.conflicts, "read_near", lambda: near)
    return routes, near


async def captured(cluster, told=None, **choice):
    """Where the routes of a session lead then."""
    routes = Routes()
    made = Choice(**choice)
    leads = Leads(routes, Named(), excluded=made.exclude.networks)
    told = [] if told is None else told
    capture = Capture(ACCESS, cluster, leads, made, lambda: "pod", told.append)
    await capture.look_around()
    await capture.begin(Link())
    return routes, capture


def targets(*networks):
    return Targets(frozenset(networks))


async def test_range_without_conflict_is_led_whole(machine):
    routes, capture = await captured(Discovered(SERVICES))
    assert routes.led == {SERVICES}
    assert capture.status() == {
        "ranges": [str(SERVICES)],
        "captured": [{"source": "servicecidrs", "count": 1, "ranges": [str(SERVICES)]}],
    }


async def test_of_a_range_that_this_machine_has_a_route_to_only_what_exists_is_led(machine):
    machine[0].append(Route(VPN, "wg0"))
    told = []
    routes, _ = await captured(Discovered(SERVICES, THERE, ELSEWHERE), told)
    assert [net for net in map(ip_network, VPN) if routes.lead(net)] == [THERE]
    assert routes.lead(ELSEWHERE)
    assert ELSEWHERE not in routes.led, "its range is led"
    (finding,) = told
    assert "wg0" in finding.what
    assert str(THERE.network_address) in finding.what
    assert f"--exclude {VPN}" in finding.hint


async def test_what_may_not_be_seen_there_is_refused_with_the_reason(machine):
    machine[0].append(Route(VPN, "wg0"))
    told = []
    routes, _ = await captured(Discovered(SERVICES, why="you may not list services"), told)
    assert not any(map(routes.lead, map(ip_network, VPN)))
    assert "you may not list services" in told[0].what


async def test_just_the_same_route_is_this_machines(machine):
    machine[0].append(Route(SERVICES, "eth0"))
    routes, _ = await captured(Discovered(SERVICES, THERE))
    assert routes.led == {THERE}


@pytest.mark.parametrize("option", ["include", "exclude"])
async def test_user_decides_whose_the_shared_addresses_are(machine, option):
    machine[0].append(Route(VPN, "wg0"))
    told = []
    routes, _ = await captured(Discovered(SERVICES, THERE), told, **{option: targets(VPN)})
    assert {routes.lead(net) for net in map(ip_network, VPN)} == {option == "include"}
    assert told == []
    assert VPN not in routes.led, "which would be as good as this machine's"


async def test_range_in_a_broader_route_is_led_and_told_in_one_line(machine):
    broad = Route(ip_network("10.0.0.0/8"), "wg0")
    machine[0].append(broad)
    cluster, told = Discovered(SERVICES), []
    pods = [ip_network("10.244.0.0/24"), ip_network("10.244.1.0/24")]
    cluster.say(Answer(Source.NODES, Kind.PODS, frozenset(pods)))
    routes, capture = await captured(cluster, told)
    assert routes.led == {SERVICES, *pods}
    (finding,) = told
    assert f"{SERVICES} of the cluster hides a part of this machine's route 10.0.0.0/8 (wg0)" in (
        finding.what
    )
    assert f"--exclude {SERVICES} --exclude 10.244.0.0/23" in finding.hint
    another = frozenset({*pods, ip_network("10.244.2.0/24")})
    cluster.say(Answer(Source.NODES, Kind.PODS, another))
    await capture.begin(Link())
    assert told == [finding], "that there is one node more is no news"


@pytest.mark.parametrize("option", ["include", "exclude"])
async def test_range_in_a_broader_route_that_the_user_names_is_no_news(machine, option):
    machine[0].append(Route(ip_network("10.0.0.0/8"), "wg0"))
    told = []
    routes, _ = await captured(Discovered(SERVICES), told, **{option: targets(SERVICES)})
    assert routes.lead(ELSEWHERE) == (option == "include")
    assert told == []


async def test_single_addresses_in_a_broader_route_are_no_news(machine):
    machine[0].append(Route(ip_network("10.0.0.0/8"), "wg0"))
    told = []
    routes, _ = await captured(Discovered(THERE), told)
    assert routes.led == {THERE}
    assert told == []


async def test_pods_are_left_out_on_demand(machine):
    cluster = Discovered(SERVICES)
    cluster.say(Answer(Source.NODES, Kind.PODS, frozenset({ip_network("10.244.0.0/24")})))
    routes, _ = await captured(cluster, pods=False)
    assert routes.led == {SERVICES}


async def test_api_server_and_neighbours_are_in_no_range(machine):
    gateway = ip_network("192.168.7.254")
    machine[1].add(ip_address("192.168.7.254"))
    routes, _ = await captured(Discovered(SERVICES), include=targets(ip_network("192.168.7.0/24")))
    assert not routes.lead(ip_network("192.168.7.1"))
    assert not routes.lead(gateway)
    assert routes.lead(ip_network("192.168.7.2"))


async def test_api_server_that_moves_is_left_alone_where_it_is_now(machine, monkeypatch):
    routes, capture = await captured(Discovered(SERVICES))
    moved = ip_address("10.96.200.200")
    assert routes.lead(ip_network(moved))

    async def resolved(access):
        return {moved}

    monkeypatch.setattr(module, "addresses_of", resolved)
    await capture.look_around()
    assert not routes.lead(ip_network(moved))


async def test_hosts_are_looked_up_by_whose_they_are_again_and_again(machine, monkeypatch):
    known = {"db.corp": {ip_address("172.31.0.5")}, "git.corp": {ip_address("10.96.0.9")}}

    async def in_cluster(link, host):
        return known[host] if host == "db.corp" else {ip_address("10.96.0.8")}

    async def here(host):
        return known[host]

    monkeypatch.setattr(module, "in_cluster", in_cluster)
    monkeypatch.setattr(module, "resolve", here)
    hosts = {"include": Targets(hosts=("db.corp",)), "exclude": Targets(hosts=("git.corp",))}
    routes, capture = await captured(Discovered(SERVICES), **hosts)
    assert routes.lead(ip_network("172.31.0.5"))
    assert [routes.lead(ip_network(f"10.96.0.{n}")) for n in (8, 9)] == [True, False]
    known["db.corp"] = {ip_address("172.31.0.6")}
    await capture.begin(Link())
    assert [routes.lead(ip_network(f"172.31.0.{n}")) for n in (5, 6)] == [False, True]
    known["db.corp"] = set()
    await capture.begin(Link())
    assert routes.lead(ip_network("172.31.0.6")), "nobody may have answered"


async def test_host_that_the_cluster_does_not_know_is_told_once(machine, monkeypatch):
    async def nothing(link, host):
        return set()

    monkeypatch.setattr(module, "in_cluster", nothing)
    told = []
    _, capture = await captured(Discovered(SERVICES), told, include=Targets(hosts=("db.corp",)))
    await capture.begin(Link())
    assert ["db.corp" in finding.what for finding in told] == [True]


async def test_what_is_new_is_led_and_what_is_gone_is_not_while_it_follows(machine):
    cluster, new = Discovered(SERVICES), ip_network("10.98.0.0/24")
    routes, capture = await captured(cluster)
    following = module.asyncio.create_task(capture.follow(Link()))
    for networks in ({SERVICES, new}, {SERVICES}):
        cluster.say(Answer(Source.SERVICE_CIDRS, Kind.SERVICES, frozenset(networks)))
        async with module.asyncio.timeout(5):
            while routes.led != networks:
                await module.asyncio.sleep(0)
    following.cancel()


async def test_range_that_no_cluster_can_have_is_told_and_the_rest_is_led(machine):
    cluster, told = Discovered(SERVICES), []
    cluster.say(Answer(Source.NODES, Kind.PODS, frozenset({ip_network("169.254.0.0/16")})))
    routes, _ = await captured(cluster, told)
    assert routes.led == {SERVICES}
    assert "169.254.0.0/16" in told[0].what


async def test_range_that_the_kernel_refuses_is_told_once(machine):
    told = []
    (refused,) = REFUSED
    _, capture = await captured(Discovered(refused), told)
    await capture.begin(Link())
    (finding,) = told
    assert f"{refused} (no room)" in finding.what
