"""Where a service's traffic goes in a pod, and which of it `--expose` asks for."""

from __future__ import annotations

from typing import Any

import pytest

from towline.errors import UsageError
from towline.features.downlink import ports
from towline.wire.target import Port, Protocol, Target


def service(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"ports": list(entries)}}


def pod(**named: int) -> dict[str, Any]:
    entries = [{"name": name, "containerPort": number} for name, number in named.items()]
    return {"spec": {"containers": [{"name": "sidecar"}, {"name": "app", "ports": entries}]}}


HTTP = {"name": "http", "port": 80, "targetPort": "web"}
ADMIN = {"name": "admin", "port": 9000, "targetPort": 9001}
DNS = {"name": "dns", "port": 53, "targetPort": 53}
DNS_UDP = {"name": "dns-udp", "port": 53, "targetPort": 53, "protocol": "UDP"}


def test_agent_listens_where_the_target_ports_are() -> None:
    found = ports.of_service(service(HTTP, ADMIN, DNS_UDP), [pod(web=8080)])
    assert [(str(each.port), str(each.listen), each.target_name) for each in found] == [
        ("80/TCP", "8080/TCP", "web"),
        ("9000/TCP", "9001/TCP", ""),
        ("53/UDP", "53/UDP", ""),
    ]


def test_target_port_without_a_number_is_the_port_itself() -> None:
    (found,) = ports.of_service(service({"port": 80}), [])
    assert found.listen == Port(80)


def test_name_that_no_pod_has_is_listened_for_at_the_services_own_number() -> None:
    (found,) = ports.of_service(service(HTTP), [])
    assert (found.listen, found.target_name) == (Port(80), "web")


def test_names_never_take_the_place_of_numbers_or_of_each_other() -> None:
    entries = (
        HTTP,
        {"name": "other", "port": 81, "targetPort": "other"},
        {"name": "number", "port": 82, "targetPort": 8080},
    )
    found = ports.of_service(service(*entries), [pod(web=8080, other=8080)])
    assert [each.listen for each in found] == [Port(8081), Port(8082), Port(8080)]


def test_protocol_that_cannot_be_passed_on_is_refused() -> None:
    with pytest.raises(UsageError, match="SCTP"):
        ports.of_service(service({"port": 80, "protocol": "SCTP"}), [])


def containers(*ports: list[dict[str, Any]]) -> dict[str, Any]:
    return {"containers": [{"name": "app", "ports": entries} for entries in ports]}


WEB = {"name": "web", "containerPort": 8080}
METRICS = {"containerPort": 9090, "protocol": "UDP"}


def test_ports_of_a_pod_are_those_of_its_containers() -> None:
    found = ports.of_containers(containers([WEB], [], [METRICS, WEB]), [])
    assert [(str(each.port), str(each.listen), each.name, each.target_name) for each in found] == [
        ("8080/TCP", "8080/TCP", "web", "web"),
        ("9090/UDP", "9090/UDP", "", ""),
    ]


@pytest.mark.parametrize(
    ("text", "port"),
    [("1:web", Port(8080)), ("1:9090", Port(9090, Protocol.UDP)), ("1:7000", Port(7000))],
)
def test_ports_that_a_pod_does_not_tell_of_may_be_named(text: str, port: Port) -> None:
    found = ports.choose(ports.of_containers(containers([WEB, METRICS]), [text]), [text])
    assert [each.port for each in found] == [port]


def test_name_that_no_container_has_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing"):
        ports.choose(ports.of_containers(containers([WEB]), ["1:nothing"]), ["1:nothing"])


def test_protocol_of_a_container_that_cannot_be_passed_on_is_refused() -> None:
    with pytest.raises(UsageError, match="SCTP"):
        ports.of_containers(containers([{"containerPort": 80, "protocol": "SCTP"}]), [])


def test_name_of_two_protocols_is_refused() -> None:
    entries = ({**HTTP, "targetPort": "dns"}, {**DNS_UDP, "targetPort": "dns"})
    with pytest.raises(UsageError, match="called dns in each protocol"):
        ports.of_service(service(*entries), [])


def chosen(texts: list[str], *entries: dict[str, Any]) -> dict[str, str]:
    found = ports.choose(ports.of_service(service(*entries), []), texts)
    return {str(each.port): f"{to.host}:{to.port}" for each, to in found.items()}


def test_all_ports_by_the_same_numbers_unless_told_otherwise() -> None:
    assert chosen([], HTTP, ADMIN) == {"80/TCP": "localhost:80", "9000/TCP": "localhost:9000"}


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["8080:80"], {"80/TCP": "localhost:8080"}),
        (["8080:http"], {"80/TCP": "localhost:8080"}),
        (["http"], {"80/TCP": "localhost:80"}),
        (["box:8080:http"], {"80/TCP": "box:8080"}),
        (["5353:53"], {"53/TCP": "localhost:5353", "53/UDP": "localhost:5353"}),
        (["5353:53/udp"], {"53/UDP": "localhost:5353"}),
        (["5353:dns-udp"], {"53/UDP": "localhost:5353"}),
        (["5353:dns-udp/udp"], {"53/UDP": "localhost:5353"}),
        (["5353:dns"], {"53/TCP": "localhost:5353"}),
        (["1:80,2:9000"], {"80/TCP": "localhost:1", "9000/TCP": "localhost:2"}),
        (["1:80", "2:admin"], {"80/TCP": "localhost:1", "9000/TCP": "localhost:2"}),
    ],
)
def test_ports_are_meant_by_number_or_name(texts: list[str], wanted: dict[str, str]) -> None:
    assert chosen(texts, HTTP, ADMIN, DNS, DNS_UDP) == wanted


@pytest.mark.parametrize(
    "text", ["8080:81", "8080:nothing", "nothing", "80/udp", "8080:http/udp", "1:80,2:http"]
)
def test_ports_that_there_are_not_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        chosen([text], HTTP, ADMIN)


def test_ports_that_lead_to_the_same_port_come_together() -> None:
    twice = ({"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 8080})
    assert chosen(["9:a"], *twice) == {"80/TCP": "localhost:9", "8080/TCP": "localhost:9"}
    with pytest.raises(UsageError, match="both lead to port 8080"):
        chosen(["9:a,10:b"], *twice)


def test_exposed_ports_are_those_that_clients_know() -> None:
    found = ports.of_service(service(HTTP, DNS_UDP), [pod(web=8080)])
    assert [str(each.remote) for each in ports.exposed(ports.choose(found, []))] == [
        "80/TCP",
        "53/UDP",
    ]
    assert ports.choose(found, ["1:http"]) == {found[0]: Target("localhost", 1)}
    assert found[1].port.protocol is Protocol.UDP
