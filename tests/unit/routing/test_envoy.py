"""The router's settings. What Envoy makes of them is tested with a real one, in tests/router."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.routing.test_table import API, PORTS, WEB, person
from towline.routing import envoy
from towline.routing.protocols import Speaks, ToldBy
from towline.routing.table import RoutedPort, Table
from towline.wire.target import Target


def routes(table: Table, port: RoutedPort = WEB) -> list[dict[str, Any]]:
    (file,) = (each for each in envoy.files(table) if each.name == f"port-{port.port}.json")
    (resource,) = json.loads(file.content)["resources"]
    (host,) = resource["virtual_hosts"]
    return host["routes"]


def clusters(table: Table) -> dict[str, Any]:
    file = envoy.files(table)[0]
    return {each["name"]: each for each in json.loads(file.content)["resources"]}


def told(table: Table, port: RoutedPort = WEB) -> list[tuple[str, str]]:
    """For each route, to whom it leads, and who gets a copy."""
    found = []
    for route in routes(table, port):
        action = route["route"]
        mirrors = [each["cluster"] for each in action.get("request_mirror_policies", [])]
        found.append((action["cluster"], *mirrors))
    return found


def values(of: Any) -> Iterator[str]:
    if isinstance(of, dict):
        for key, inner in of.items():
            yield key
            yield from values(inner)
    elif isinstance(of, list):
        for inner in of:
            yield from values(inner)
    elif isinstance(of, str):
        yield of


def test_without_anybody_all_goes_to_the_originals():
    assert told(Table(PORTS)) == [("original-8080",)]
    assert told(Table(PORTS), API) == [("original-20001",)]
    assert clusters(Table(PORTS)) == {}


def test_clusters_come_before_the_routes_to_them_and_all_have_the_revision():
    table = Table(PORTS).joining(person("ada"))
    found = envoy.files(table)
    assert [each.name for each in found] == ["clusters.json", "port-8080.json", "port-20001.json"]
    assert found[0].stat == "cluster_manager.cds"
    assert found[1].stat == "http.port-8080.rds.port-8080"
    assert {json.loads(each.content)["version_info"] for each in found} == {"1"}


def test_who_leaves_has_a_cluster_but_no_route():
    table = Table(PORTS).joining(person("ada")).leaving("ada")
    assert told(table) == [("original-8080",)]
    assert [*clusters(table)] == ["participant-ada-8080"]
    assert clusters(table.without("ada")) == {}


def test_somebody_has_routes_only_on_the_ports_that_they_want():
    table = Table(PORTS).joining(person("ada", ports=(API,)))
    assert told(table) == [("original-8080",)]
    assert told(table, API) == [("participant-ada-20001",), ("original-20001",)]


def test_higher_priority_comes_first():
    table = Table(PORTS)
    for name, priority in (("low", -1), ("middle", 0), ("high", 7)):
        table = table.joining(person(name, "path=/a", "path=/b", priority=priority))
    names = [who.removeprefix("participant-") for (who,) in told(table)]
    assert names == [*["high-8080"] * 2, *["middle-8080"] * 2, *["low-8080"] * 2, "original-8080"]


def test_copies_are_made_of_each_route_that_may_satisfy_the_rule():
    table = Table(PORTS).joining(person("ada")).joining(person("eve", "path^=/api/"))
    table = table.joining(person("cat", "header:x-tow=ada", copy=True))
    cat = "participant-cat-8080"
    assert told(table) == [
        ("participant-ada-8080", cat),
        ("participant-ada-8080",),
        ("participant-eve-8080", cat),
        ("participant-eve-8080",),
        ("original-8080", cat),
        ("original-8080",),
    ]
    other = table.joining(person("dan", "header:x-tow=dan", copy=True))
    assert ("participant-ada-8080", "participant-dan-8080") not in told(other)


def test_participants_cluster_ends_with_the_fallback_but_that_of_copies_does_not():
    table = Table(PORTS).joining(person("ada")).joining(person("eve", copy=True))
    found = {
        name: [
            end["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"]
            for end in each["load_assignment"]["endpoints"]
        ]
        for name, each in clusters(table).items()
    }
    assert found == {"participant-ada-8080": [20002, 19001], "participant-eve-8080": [20004]}


def test_affinity_is_kept_by_the_clients_address():
    (route,) = routes(Table(PORTS), API)
    assert route["route"]["hash_policy"] == [{"connection_properties": {"source_ip": True}}]
    (route,) = routes(Table(PORTS))
    assert "hash_policy" not in route["route"]
    policies = {
        each["name"]: each["lb_policy"]
        for each in json.loads(envoy.bootstrap(PORTS, "/r"))["static_resources"]["clusters"]
    }
    assert policies == {"original-8080": "LEAST_REQUEST", "original-20001": "RING_HASH"}


def test_arguments_have_nothing_that_kubernetes_would_expand():
    assert "$" not in "".join(envoy.arguments(PORTS, "/router", tls_folder="/tls"))


@pytest.mark.parametrize(("ipv6", "address"), [(False, "0.0.0.0"), (True, "::")])
def test_router_listens_on_addresses_of_the_services_families(ipv6, address):
    settings = json.loads(envoy.bootstrap([WEB], "/router", ipv6=ipv6))
    front, fallback = settings["static_resources"]["listeners"]
    assert front["address"]["socket_address"]["address"] == address
    assert front["address"]["socket_address"]["port_value"] == 8080
    assert fallback["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 19001}


def test_names_of_people_are_what_a_header_may_have():
    table = Table(PORTS).joining(person("a%REQ(X)%\r\nü", "path=/"))
    (header,) = routes(table)[0]["response_headers_to_add"]
    assert header["header"]["value"].startswith("a%%REQ(X)%%???@laptop is not there")


def test_tls_is_only_where_the_port_speaks_it():
    secure = RoutedPort(443, Speaks.TLS, ToldBy.NAME, 19002, Target("twin", 8443))
    settings = json.loads(envoy.bootstrap([WEB, secure], "/router", tls_folder="/tls"))
    front = {each["name"]: each for each in settings["static_resources"]["listeners"]}
    assert "/tls/tls.key" in set(values(front["port-443"]))
    assert "/tls/tls.key" not in set(values(front["port-8080"]))
    assert "/tls/tls.key" not in set(values(front["fallback-443"]))
