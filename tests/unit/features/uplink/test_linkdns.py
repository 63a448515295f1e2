"""What a session asks of systemd-resolved, and what it tells when that is refused."""

from __future__ import annotations

import asyncio

import pytest

from towline.dns.policy import ClusterNames
from towline.errors import RedirectError
from towline.features.findings import Verdict
from towline.features.uplink.linkdns import LinkDns, domains
from towline.redirect import resolved
from towline.redirect.resolved import ResolvedError
from towline.wire.dns import Name

CLUSTER = ClusterNames.of_pod(
    "", "default", domain=Name.of("Cluster.local"), inside=[Name.of("db.corp")]
)


class FakeRedirect:
    def __init__(self, error=None):
        self.asked = []
        self.lost = asyncio.Event()
        self._error = error

    async def set_link_dns(self, domains, port):
        self.asked.append((list(domains), port))
        if self._error:
            raise self._error


class FakeResolver:
    port = 5353
    finished = False

    async def finish(self, seconds):
        self.finished = True


@pytest.fixture
def guards(monkeypatch):
    found = []
    monkeypatch.setattr(resolved, "guards", lambda: found)
    return found


def test_all_names_are_asked_for_but_the_worlds_when_these_are_guarded():
    assert domains(CLUSTER, []) == ["~.", "~cluster.local", "~db.corp", "towline.internal"]
    assert domains(CLUSTER, ["DNSSEC"]) == ["~svc", "~pod", *domains(CLUSTER, [])[1:]]


async def test_settings_are_taken_back_before_the_last_answers(guards):
    redirect, resolver = FakeRedirect(), FakeResolver()
    link_dns = LinkDns(redirect, CLUSTER, resolver)
    assert (await link_dns.set()).verdict is Verdict.OK
    await link_dns.end()
    assert [asked for asked, _ in redirect.asked] == [domains(CLUSTER, []), []]
    assert resolver.finished


async def test_refusal_is_told_and_nothing_taken_back(guards):
    redirect = FakeRedirect(RedirectError("Access denied."))
    link_dns = LinkDns(redirect, CLUSTER, FakeResolver())
    finding = await link_dns.set()
    assert finding.verdict is Verdict.PROBLEM
    assert "Access denied" in finding.what
    await link_dns.end()
    assert len(redirect.asked) == 1


async def test_machine_where_nothing_can_be_known_is_left_alone(monkeypatch):
    def unknown():
        raise ResolvedError("there is no resolvectl")

    monkeypatch.setattr(resolved, "guards", unknown)
    redirect = FakeRedirect()
    finding = await LinkDns(redirect, CLUSTER, FakeResolver()).set()
    assert "there is no resolvectl" in finding.what
    assert redirect.asked == []


async def test_helper_that_is_gone_is_no_refusal(guards):
    redirect = FakeRedirect(RedirectError("gone"))
    redirect.lost.set()
    with pytest.raises(RedirectError):
        await LinkDns(redirect, CLUSTER, FakeResolver()).set()
