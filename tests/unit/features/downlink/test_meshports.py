"""Which ports a mesh tells requests apart on, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from towline.errors import UsageError
from towline.features.downlink.meshports import choose, of_service
from towline.routing.protocols import Speaks

HTTP = {"name": "http", "port": 80, "targetPort": 8080}
TLS = {"name": "https", "port": 443, "targetPort": 8443}
DATABASE = {"name": "tcp-db", "port": 5432, "targetPort": 5432}
SILENT = {"port": 9000, "targetPort": 9000}
DNS = {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}


def chosen(*entries: dict[str, Any], texts: tuple[str, ...] = (), tls: bool = False) -> set[int]:
    found = of_service({"spec": {"ports": list(entries)}}, ())
    return {each.port.number for each in choose(found, texts, tls=tls)}


def test_all_that_say_they_speak_http_are_chosen() -> None:
    assert chosen(HTTP, DATABASE, SILENT, DNS) == {80}
    assert chosen(HTTP, TLS, tls=True) == {80, 443}


def test_what_says_nothing_is_chosen_if_nothing_else_is_there_or_it_is_named() -> None:
    assert chosen(SILENT, DATABASE) == {9000}
    assert chosen(HTTP, SILENT, texts=("9000",)) == {9000}


@pytest.mark.parametrize("texts", [(), ("443",)])
def test_tls_without_a_certificate_is_refused_with_the_way_out(texts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"443 speaks TLS \(name https\)") as refused:
        chosen(HTTP, TLS, texts=texts)
    assert "--tls-secret" in refused.value.hint
    assert "--expose 80" in refused.value.hint


def test_port_that_is_not_http_is_refused_with_what_says_so() -> None:
    with pytest.raises(UsageError, match=r"5432: not HTTP \(name tcp-db\)"):
        chosen(HTTP, DATABASE, texts=("5432",))
    with pytest.raises(UsageError, match="53/UDP: not HTTP"):
        chosen(HTTP, DNS, texts=("53/udp",))


def test_service_without_any_such_port_is_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match="None of its ports speaks HTTP") as refused:
        chosen(DATABASE, DNS)
    assert "5432: not HTTP (name tcp-db), 53/UDP: not HTTP" in refused.value.summary


def test_ports_that_lead_to_the_same_one_of_the_pods_speak_the_same() -> None:
    silent = {"port": 81, "targetPort": 8080}
    found = of_service({"spec": {"ports": [silent, HTTP]}}, ())
    assert {each.told.speaks for each in found} == {Speaks.HTTP}
