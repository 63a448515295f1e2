"""What `tow forward` is told: a target and ports."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import UsageError
from towline.features.reference import Reference
from towline.features.uplink.forward.target import Host, Wish, parse
from towline.kube.resources import DEPLOYMENTS, SERVICES


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web", Reference(SERVICES, "web")),
        ("svc/web", Reference(SERVICES, "web")),
        ("deploy/web", Reference(DEPLOYMENTS, "web")),
        ("web.other-ns", Host("web.other-ns")),
        ("db.internal.", Host("db.internal.")),
        ("host/node7", Host("node7")),
        ("10.1.2.3", Host("10.1.2.3")),
        ("FD00::0:1", Host("fd00::1")),
        ("[fd00::1]", Host("fd00::1")),
    ],
)
def test_target_is_an_object_or_a_host(text: str, target: Reference | Host) -> None:
    assert parse(text, ["80"]) == (target, [Wish("80")])


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("db.internal:5432", "db.internal"),
        ("10.1.2.3:5432", "10.1.2.3"),
        ("[fd00::1]:5432", "fd00::1"),
        ("web:5432", "web"),
        ("host/web:5432", "web"),
    ],
)
def test_host_may_have_its_port_with_it(text: str, host: str) -> None:
    assert parse(text, []) == (Host(host), [Wish("5432")])
    assert parse(text, ["1:2"]) == (Host(host), [Wish("5432"), Wish("2", 1)])


def test_host_without_a_port_is_asked_for_one() -> None:
    with pytest.raises(UsageError, match=r"Which port of db\.internal"):
        parse("db.internal", [])


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("80", Wish("80")),
        ("http", Wish("http")),
        ("8080:80", Wish("80", 8080)),
        ("8080:http", Wish("http", 8080)),
        ("0:80", Wish("80", 0)),
        (":80", Wish("80", 0)),
        ("5353:53/udp", Wish("53/udp", 5353)),
        ("dns/udp", Wish("dns/udp")),
    ],
)
def test_port_is_a_number_or_a_name_behind_a_local_number(text: str, wish: Wish) -> None:
    assert parse("web", [text]) == (Reference(SERVICES, "web"), [wish])


@pytest.mark.parametrize(
    "text", ["", ":", "80:", "x:80", "70000:80", "80:70000", "80/sctp", "1:2:3", "/udp", "0"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="does not say which port"):
        parse("web", [text])


@pytest.mark.parametrize(
    "text", ["a b.c", "[fd00::1", "[web]:80", "db.internal:0", "db.internal:x", "fd00::1%eth0:80"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no host"):
        parse(text, ["80"])


@given(st.text(), st.lists(st.text(), max_size=2))
def test_anything_else_is_a_usage_error(text: str, ports: list[str]) -> None:
    with suppress(UsageError):
        parse(text, ports)
