"""docs/rights.md names exactly the rights that the program looks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.documented import rules
from towline.cluster import restorer
from towline.features.downlink import injection, manual, preview, selector
from towline.features.reference import Reference
from towline.features.rights import agent_rights, link_rights
from towline.features.upkeep import clean, recover
from towline.features.upkeep.survey import CHANGED, list_right
from towline.kube.access import Right
from towline.kube.resources import JOBS, PODS


def documented(command: str, part: int = 0) -> set[Right]:
    found = set()
    for rule in rules(command, part):
        (group,) = rule["apiGroups"]
        for resource in rule["resources"]:
            name, _, part = resource.partition("/")
            found |= {Right(verb, group, name, part, namespace="dev") for verb in rule["verbs"]}
    return found


def of_any_name(rights: Iterable[Right]) -> set[Right]:
    return {replace(right, name="") for right in rights}


@pytest.mark.parametrize(
    ("command", "rights"),
    [
        ("connect", [*agent_rights("dev"), *link_rights("dev", "portforward")]),
        ("recover", recover.rights("dev", Reference.parse("svc/web"))),
        ("clean", clean.rights("dev", dry_run=False)),
        ("list", [list_right(each, "dev") for each in (*CHANGED, JOBS, PODS)]),
    ],
)
def test_documented_rights_are_what_is_looked_for(command: str, rights: list[Right]) -> None:
    assert documented(command) == of_any_name(rights)


def test_documented_rights_of_a_preview_are_beside_those_of_connect() -> None:
    both = documented("connect") | documented("preview")
    assert both == {*preview.rights("dev"), *link_rights("dev", "portforward")}


def test_documented_rights_of_an_exchange_are_beside_those_of_connect() -> None:
    both = documented("connect") | documented("exchange")
    looked_for = {*selector.rights("dev", "web"), *link_rights("dev", "portforward")}
    assert both == of_any_name(looked_for)
    assert documented("exchange", part=1) == set(restorer.rights("dev"))


def test_documented_rights_of_a_pod_with_a_mark_are_beside_those_of_connect() -> None:
    target = Reference.parse("deploy/web")
    both = documented("connect") | documented("mesh --mode manual")
    looked_for = {*manual.rights(target, "dev"), *link_rights("dev", "portforward")}
    reading = Right("get", "apps", "deployments", namespace="dev")
    assert both | {reading} == of_any_name(looked_for)


def test_documented_rights_in_pods_are_what_is_looked_for() -> None:
    looked_for = {*link_rights("dev", "portforward")}
    for kind in ("deploy", "sts", "ds"):
        looked_for |= set(injection.rights(Reference.parse(f"{kind}/web"), "dev"))
    assert documented("exchange --mode ephemeral") == of_any_name(looked_for)
